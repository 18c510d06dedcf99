"""What two processes say to each other during a restart, and the descriptors they hand over.

The old one starts the next one as its child, with one end of a socket pair: over it go the
listening sockets and the lock of the data folder (SCM_RIGHTS, unix(7)), and a few messages:

    old -> next  Adopt(places)     with the sockets, and the old one's terminal
    next -> old  Prepared          all is done that needs no database; or Refused(why)
    old -> next  TakeOver          with the lock; the old one has let go of the database
    next -> old  Serving           it has written to the database and listens; or Refused(why)

Messages are MessagePack by field names, so that versions may differ. An end of the pair that is
closed means: that process has ended. docs/decisions/0021.
"""

import os
import socket
import struct
import time
from typing import Any

import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.edge.sockets import ListenSockets, Place
from whimbrel.storage.lock import FolderLock

VARIABLE = "WHIMBREL_SUCCEEDS"  # the next one's end of the pair
FDS_MAX = 64
ENDED = "it has ended"
_LENGTH = struct.Struct("!I")


class Adopt(msgspec.Struct, tag=True):
    """places: one for each socket that comes along, in their order; then the terminal."""

    places: list[Place]


class Prepared(msgspec.Struct, tag=True):
    """schema: of the database as it is, and as the next process will have it."""

    version: str
    schema: tuple[int, int]


class TakeOver(msgspec.Struct, tag=True):
    """carried: assemble.HandedOver; goes from memory to memory only."""

    carried: bytes = b""
    __repr__ = discreet


class Serving(msgspec.Struct, tag=True):
    """at_s: on the machine's monotonic clock, when it began to accept."""

    at_s: float


class Refused(msgspec.Struct, tag=True):
    """why: a sentence for the operator."""

    why: str


class HandedOver(msgspec.Struct):
    """carried: sessions of XMPP clients (they hold bodies: never to a disk).

    frozen_s: on the monotonic clock of this machine, when the last message was taken.
    """

    lock: FolderLock
    carried: bytes
    frozen_s: float
    __repr__ = discreet


Word = Adopt | Prepared | TakeOver | Serving | Refused
_decode = msgspec.msgpack.Decoder(Word).decode


class Gone(Exception):
    """The other process has ended, or is not heard within the time."""


def send(pair: socket.socket, word: Word, fds: list[int] | None = None) -> None:
    """Blocking; the descriptors travel with the length. Raises Gone."""
    data = msgspec.msgpack.encode(word)
    try:
        socket.send_fds(pair, [_LENGTH.pack(len(data))], fds or [])
        pair.sendall(data)
    except ConnectionError:
        raise Gone(ENDED) from None
    except OSError as error:
        raise Gone(str(error)) from error


def receive(pair: socket.socket, timeout_s: float | None = None) -> tuple[Any, list[int]]:
    """One message and the descriptors that came with it; None: no bound. Raises Gone."""
    end_s = None if timeout_s is None else time.monotonic() + timeout_s
    try:
        pair.settimeout(timeout_s)
        head, fds, _, _ = socket.recv_fds(pair, _LENGTH.size, FDS_MAX)
        for fd in fds:
            os.set_inheritable(fd, False)
        (size,) = _LENGTH.unpack(head + _exactly(pair, _LENGTH.size - len(head), end_s))
        data = _exactly(pair, size, end_s)
        return _decode(data), list(fds)
    except TimeoutError:
        raise Gone("it does not answer in time") from None
    except ConnectionError:
        raise Gone(ENDED) from None
    except OSError as error:
        raise Gone(str(error)) from error
    except msgspec.DecodeError:
        raise Gone("it speaks another language") from None
    finally:
        pair.settimeout(None)


def _exactly(pair: socket.socket, size: int, end_s: float | None) -> bytes:
    data = bytearray()
    while len(data) < size:
        if end_s is not None:
            pair.settimeout(max(0.001, end_s - time.monotonic()))
        piece = pair.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise Gone(ENDED)
        data += piece
    return bytes(data)


class Predecessor:
    """The old process, as the next one sees it. Everything here blocks."""

    def __init__(self, pair: socket.socket) -> None:
        self._pair = pair
        word, fds = receive(pair, 30.0)
        if not isinstance(word, Adopt) or len(fds) != len(word.places) + 1:
            raise Gone("it speaks another language")
        self._terminal = fds.pop()
        found: dict[Place, list[socket.socket]] = {}
        for place, fd in zip(word.places, fds, strict=True):
            found.setdefault(place, []).append(socket.socket(fileno=fd))
        self.sockets = ListenSockets(found)

    def prepared(self, version: str, schema: tuple[int, int]) -> None:
        send(self._pair, Prepared(version, schema))

    def take_over(self) -> tuple[int, bytes]:
        """Waits until the old one has let go: (descriptor of the lock, sessions). Raises Gone:
        whoever watches the old one starts a new one, which must not find us in its way.
        """
        word, fds = receive(self._pair)
        if not isinstance(word, TakeOver) or len(fds) != 1:
            raise Gone("it speaks another language")
        self._speak_for_ourselves()
        return fds[0], word.carried

    def _speak_for_ourselves(self) -> None:
        """Until now the old one kept what we said, to tell it if nothing came of us."""
        kept = os.dup(2)
        os.dup2(self._terminal, 2)
        os.close(self._terminal)
        with os.fdopen(kept, "rb") as file:
            file.seek(0)
            os.write(2, file.read())

    def serving(self, at_s: float) -> None:
        """From here on the old one may be gone, which is no matter."""
        try:
            send(self._pair, Serving(at_s))
        except Gone:
            return

    def refused(self, why: str) -> None:
        try:
            send(self._pair, Refused(why))
        except Gone:
            return

    def close(self) -> None:
        self._pair.close()


def predecessor() -> Predecessor | None:
    """None: this process was not started for a restart. Raises Gone."""
    fd = os.environ.pop(VARIABLE, "")
    if not fd.isdigit():
        return None
    os.set_inheritable(int(fd), False)
    return Predecessor(socket.socket(fileno=int(fd)))
