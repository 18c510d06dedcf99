"""Streams in which every element stands by itself (RFC 7395, XEP-0206): each declares what it
uses, and none depends on a header.
"""

from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element, write

_STANZAS = (b"<message", b"<iq", b"<presence")
_STREAM = f" xmlns:stream='{names.STREAMS}'".encode()
_CLIENT = f" xmlns='{names.CLIENT}'".encode()


class FramedStream(XmppStream):
    __slots__ = ()

    @property
    def prefixes(self) -> dict[str, str]:
        """Every element declares its own."""
        return {}

    def write_element(self, element: Element) -> None:
        if element.ns == names.STREAMS:
            inside = Element("", f"stream:{element.name}", element.attributes, *element.nodes)
            raw = write(inside, "")
            at = 8 + len(element.name)
            self.write(raw[:at] + _STREAM + raw[at:])
        else:
            self.write(write(element, ""))

    def write_stanza(self, data: bytes) -> None:
        for start in _STANZAS:
            if data.startswith(start):
                data = start + _CLIENT + data[len(start) :]
                break
        self.write(data)
