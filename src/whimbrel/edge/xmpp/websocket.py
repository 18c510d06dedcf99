"""XMPP in a WebSocket (RFC 7395): the same stream, one element in each text message."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, ClassVar

from whimbrel.edge.transport import Connection
from whimbrel.edge.xmpp.framed import FramedStream
from whimbrel.protocol.websocket import NORMAL, WebSocketDecoder, close_frame, text_frame
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.stream import XmlLimits, read_frame

if TYPE_CHECKING:
    from whimbrel.edge.xmpp.hub import Hub

SUBPROTOCOL = "xmpp"


class XmppSocket(FramedStream):
    """`address`: what limits count by."""

    front: ClassVar[str] = "xmpp-websocket"
    __slots__ = ("_decoder", "_limits", "_said_goodbye")

    def __init__(self, hub: Hub, link: Connection, secure: bool) -> None:
        super().__init__(hub, link, None)
        self.secure = secure and link.tls_version != ""
        self._limits = hub.xml_before_login
        self._decoder = WebSocketDecoder(self._limits.stanza_bytes_max)
        self._said_goodbye = False

    def received(self, data: bytes) -> None:
        decoder = self._decoder
        frames = decoder.feed(data)
        if self.over:
            if decoder.closed or decoder.fault is not None:
                self.link.close()
            return
        self.heard_s = self.hub.edge.now_s
        self.allowance_bytes -= len(data)
        if decoder.answers:
            self.link.write(b"".join(decoder.answers))
            decoder.answers.clear()
        try:
            for frame in frames:
                self.take_event(read_frame(frame, self._limits))
        except StreamError as error:
            self.fault(error)
        if decoder.fault is not None:
            self._said_goodbye = True
            self.link.write(close_frame(decoder.close_code))
            self.fault(StreamError("policy-violation", "a WebSocket frame that is none"))
        self.work()
        if decoder.closed and not self.over:
            self._said_goodbye = True
            self.link.write(close_frame(decoder.close_code))
            self.link.close()

    def new_reader(self, limits: XmlLimits) -> None:
        self._limits = limits
        self._decoder.limit = limits.stanza_bytes_max

    def raise_limits(self, limits: XmlLimits) -> None:
        self.new_reader(limits)

    # ---- bytes out -----------------------------------------------------------------------

    def say_header(self) -> None:
        about = {
            "from": self.hub.domain,
            "id": secrets.token_urlsafe(12),
            "version": "1.0",
            "{http://www.w3.org/XML/1998/namespace}lang": "en",
        }
        self.write(write(Element(names.FRAMING, "open", about), ""))

    def write(self, data: bytes) -> None:
        self.link.write(text_frame(data))

    def say_goodbye(self) -> None:
        """Section 3.6: <close/>, then the WebSocket's own close."""
        self.write(write(Element(names.FRAMING, "close"), ""))
        if not self._said_goodbye:
            self._said_goodbye = True
            self.link.write(close_frame(NORMAL))
