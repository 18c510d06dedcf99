"""The ways into the server: a port, with or without TLS, and the client that speaks there."""

import ssl
from typing import NamedTuple

from bench.raw import RawClient, client_context
from bench.server import Server
from bench.web import WebClient


class Way(NamedTuple):
    name: str  # of its figures
    port: str  # as the ready file says it
    tls: bool
    client: type[RawClient]

    def port_of(self, server: Server) -> int:
        return int(server.ready[self.port])

    def context(self) -> ssl.SSLContext | None:
        if not self.tls:
            return None
        context = client_context()
        if self.client is WebClient:
            context.set_alpn_protocols(["http/1.1"])
        return context


NATIVE_TLS = Way("native_tls", "native", True, RawClient)
NATIVE_PLAIN = Way("native_plain", "native_plain", False, RawClient)
WEB_TLS = Way("websocket_tls", "https", True, WebClient)
WEB_PLAIN = Way("websocket_plain", "http", False, WebClient)
