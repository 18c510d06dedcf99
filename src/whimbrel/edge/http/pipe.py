"""aiohttp's view of a connection of ours: an asyncio transport over edge/transport.py.

aiohttp writes answers and closes; the TLS below and the counting above are ours. Law: once the
connection was handed over (a WebSocket), nothing that aiohttp still does reaches it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from whimbrel.edge.transport import Application, Connection


class Pipe(asyncio.Transport):
    def __init__(
        self,
        connection: Connection,
        protocol: asyncio.Protocol,
        hand_over: Callable[[Application], None],
    ) -> None:
        super().__init__()
        self.connection = connection
        self._protocol = protocol
        self._hand_over = hand_over
        self._cut = False

    def hand_over(self, app: Application) -> None:
        """From here on the connection belongs to `app`; aiohttp sees it as lost."""
        self._cut = True
        self._hand_over(app)

    # ---- from the connection -------------------------------------------------------------

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    # ---- asyncio.Transport ---------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":  # aiohttp asks for it to know whether this is https
            return self.connection.context or default
        transport = self.connection.transport
        return transport.get_extra_info(name, default) if transport is not None else default

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._cut or self.connection.is_closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._cut:
            self.connection.write(bytes(data))
            self.connection.flush()

    def get_write_buffer_size(self) -> int:
        return self.connection.unsent_bytes

    def pause_reading(self) -> None:
        if not self._cut:
            self.connection.pause_reading()

    def resume_reading(self) -> None:
        if not self._cut:
            self.connection.resume_reading()

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if not self._cut:
            self.connection.close()

    def abort(self) -> None:
        if not self._cut:
            self.connection.abort()
