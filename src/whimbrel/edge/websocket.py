"""One WebSocket: between a connection that was HTTP and the session of a device.

It is the connection's application (bytes in) and the session's link (frames out), so that a
browser has the same session, with the same limits and laws, as a device on TLS. RFC 6455;
the handshake stands in http/socket.py. Laws: as in transport.py, and every end that we choose is
said twice, as a message with its name and as a close code.
"""

from whimbrel.domain import errors
from whimbrel.edge.session import Session
from whimbrel.edge.transport import Connection
from whimbrel.protocol.codes import CLOSE_CODES
from whimbrel.protocol.websocket import POLICY, WebSocketDecoder, close_frame

# Who was silent, or one of too many: its answer is not waited for, so that a flood keeps nothing.
NOT_WAITED_FOR = frozenset(
    {errors.TooManyConnections.code, errors.HelloTimeout.code, errors.IdleTimeout.code}
)


class WebSocket:
    """`session` is set right after both are made: each holds the other."""

    __slots__ = ("_connection", "_decoder", "_ending", "address", "session")

    session: Session

    def __init__(self, connection: Connection, address: str, decoder: WebSocketDecoder) -> None:
        self.address = address
        self._connection = connection
        self._decoder = decoder
        self._ending = False  # our close frame has left

    # ---- the connection's application -----------------------------------------------------

    def connected(self, connection: Connection) -> "WebSocket":
        return self

    def opened(self) -> None:
        """It was open before the upgrade."""

    def received(self, data: bytes) -> None:
        decoder, session = self._decoder, self.session
        before = decoder.frames
        messages = decoder.feed(data)
        if self._ending:
            self._finish()
            return
        if decoder.answers:
            self._connection.write(b"".join(decoder.answers))
            decoder.answers.clear()
            session.push()
        session.take(messages, len(data), decoder.frames - before)
        if self._ending:
            self._finish()
        elif decoder.fault is not None:
            session.refuse(decoder.fault)
        elif decoder.closed:
            self._answer_close()

    def closed(self) -> None:
        self.session.closed()

    def _answer_close(self) -> None:
        """Section 5.5.1: the same code comes back, and then the server closes TCP (7.1.1)."""
        self._ending = True
        self._connection.write(close_frame(self._decoder.close_code))
        self.session.hang_up()
        self._connection.close()

    def _finish(self) -> None:
        """We have said goodbye; all that counts is the peer's own close frame."""
        decoder = self._decoder
        decoder.answers.clear()
        if decoder.closed:
            self._connection.close()
        elif decoder.fault is not None:
            self._connection.finish()

    # ---- the session's link ---------------------------------------------------------------

    @property
    def unsent_bytes(self) -> int:
        return self._connection.unsent_bytes

    @property
    def is_slow(self) -> bool:
        return self._connection.is_slow

    def write(self, data: bytes) -> None:
        self._connection.write(data)

    def flush(self) -> None:
        self._connection.flush()

    def pause_reading(self) -> None:
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        self._connection.resume_reading()

    def close(self, code: str = "") -> None:
        """Say why in a close frame; the connection ends when the peer has said it too.

        A peer that does not is ended by the session's sweep.
        """
        if self._ending:
            return
        self._ending = True
        decoder, connection = self._decoder, self._connection
        fault = decoder.fault
        broken = fault is not None and fault.code == code  # it knows better which kind it was
        said = decoder.close_code if broken else CLOSE_CODES.get(code, POLICY)
        connection.write(close_frame(said))
        if fault is not None:
            connection.finish()  # what comes from here on is not understood
            return
        if code in NOT_WAITED_FOR:
            connection.close()
            return
        connection.flush()
        connection.resume_reading()

    def abort(self) -> None:
        self._connection.abort()
