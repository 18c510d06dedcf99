"""XMPP in the bodies of HTTP requests: reading and writing <body/> (XEP-0124, XEP-0206).

A body is read in two steps: its tag, which names the session and with it the limits, then the
elements inside. Law: as for every stream: any bytes give a body or one StreamError.
"""

from xml.parsers import expat

from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.names import HTTP_BIND, STREAMS
from whimbrel.protocol.xmpp.stream import Closed, Opened, Stanza, StreamReader, XmlLimits, portable

XBOSH = "urn:xmpp:xbosh"
_NAMES = f"xmlns:stream='{STREAMS}' xmlns:xmpp='{XBOSH}'"


class BodyReader(StreamReader):
    """One body: head(), then stanzas(). Raises StreamError."""

    def __init__(self, data: bytes, limits: XmlLimits) -> None:
        super().__init__(limits)
        self._data = data
        self._attributes: dict[str, str] | None = None

    def head(self) -> dict[str, str]:
        """The body's own attributes; those of XEP-0206 as "{urn:xmpp:xbosh}name"."""
        end = self._data.find(b">") + 1
        while end and self._attributes is None:
            self._take(self._data[:end])
            self._data = self._data[end:]
            end = self._data.find(b">") + 1
        if self._attributes is None:
            raise StreamError("bad-format", "this is no <body>")
        return self._attributes

    def stanzas(self, limits: XmlLimits) -> list[Stanza]:
        self.limits = limits
        self._take(self._data)
        try:
            self._parser.Parse(b"", True)
        except expat.ExpatError:
            raise StreamError("not-well-formed") from None
        return [
            Stanza(event.element, portable(event.raw, self.prefixes))
            for event in self.events
            if isinstance(event, Stanza)
        ]

    def _take(self, data: bytes) -> None:
        found = self.feed(data)
        for event in found:
            if isinstance(event, Opened):
                self._attributes = event.attributes
        self._events = [event for event in found if not isinstance(event, Opened)]
        if self._attributes is None and any(isinstance(event, Closed) for event in found):
            raise StreamError("bad-format")

    def _on_namespace(self, prefix: str | None, uri: str | None) -> None:
        if self._depth < self._base and prefix is not None:
            self.prefixes[prefix] = uri or ""

    def _on_header(self, ns: str, local: str, attributes: dict[str, str]) -> None:
        if (ns, local) != (HTTP_BIND, "body"):
            raise StreamError("bad-format", "this is no <body>")
        self._events.append(Opened(attributes))
        self._forget(self._parsed())

    def _begin(self, ns: str, local: str, attributes: dict[str, str]) -> None:
        if ns == HTTP_BIND:
            raise StreamError("invalid-namespace", "jabber:client was not declared")
        super()._begin(ns, local, attributes)


def body(attributes: dict[str, str], inside: bytes = b"") -> bytes:
    """An answer. Names of XEP-0206 are given as "xmpp:name"."""
    head = write(Element(HTTP_BIND, "body", attributes), "").removesuffix(b"/>")
    return head + b" " + _NAMES.encode() + b">" + inside + b"</body>"


def ended(condition: str, inside: bytes = b"") -> bytes:
    """The last answer of a session (XEP-0124 section 17); "": in good order."""
    about = {"type": "terminate"}
    if condition:
        about["condition"] = condition
    return body(about, inside)
