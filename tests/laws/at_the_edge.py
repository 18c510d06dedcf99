"""Scenes at the edge: a real session between a device and an actor that are both played.

DELIVERY.md "Actor -> device": what the session forwards, drops, asks for and repeats.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from tests.laws.witness import check
from whimbrel.domain import answers as a
from whimbrel.domain import messages as m
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Router, SessionSink
from whimbrel.domain.rows import MESSAGE
from whimbrel.edge.framed import FramedSession
from whimbrel.edge.session import Numbers, Session
from whimbrel.protocol import wire
from whimbrel.protocol.frames import encode_frame
from whimbrel.protocol.native import MsgpackCodec

DEVICE = MsgpackCodec(client=True)
BODY = msgspec.msgpack.encode({"text": "hello"})


class PlayedLink:
    """The connection: keeps what was written to the device."""

    address = "192.0.2.1"
    is_slow = False
    unsent_bytes = 0

    def __init__(self) -> None:
        self.written: list[Any] = []

    def write(self, data: bytes) -> None:
        self.written.append(DEVICE.decode(data[4:]))

    def flush(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self, code: str = "") -> None: ...
    def abort(self) -> None: ...


class PlayedEdge:
    """What a session needs of its surroundings, and the actor: `told` is all it was told."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.counts: Counter[str] = Counter()
        self.now_s = 1_000.0
        self.told: list[m.ToActor] = []
        self.router: Router = self
        self.numbers: Numbers = self
        self._later: list[Callable[[], None]] = []

    def tell(self, account: int, message: m.ToActor) -> bool:
        self.told.append(message)
        return True

    def open(self, sink: SessionSink) -> int:
        return 7

    def close(self, number: int) -> None: ...
    def keep(self, address: str, password: str) -> bytes:
        return b""

    def wall_us(self) -> int:
        return 1

    def ready(self) -> bool:
        return True

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._later.append(call)

    def may_log_in(self, address: str, account: int) -> bool:
        return True

    def login_failed(self, address: str, account: int) -> None: ...
    def authenticated(self, session: Session) -> None: ...
    def ended(self, session: Session) -> None: ...

    def wait(self, session: Session, seconds: float) -> None:
        """Time passes; what was put off happens."""
        self.now_s += seconds
        later, self._later = self._later, []
        for call in later:
            call()
        session.sweep()

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.told if isinstance(message, kind)]


def logged_in(last: int = 0, tail: int = 0) -> tuple[PlayedEdge, PlayedLink, FramedSession]:
    edge, link = PlayedEdge(), PlayedLink()
    session = FramedSession(edge, MsgpackCodec(), link)
    say(session, wire.Hello(wire.VERSION, "bob", 1, "key", last, 1 if last else 0))
    session.deliver(a.Welcome("bob", 1, 7, 1, 0, 0, tail))
    return edge, link, session


def say(session: FramedSession, message: wire.Wire) -> None:
    session.received(encode_frame(DEVICE.encode(message)))


def item(prev: int, q: int) -> a.Item:
    return a.Item(prev, q, MESSAGE, "alice", 100 + q, 1, q, 0, "", BODY)


def shown(link: PlayedLink) -> list[int]:
    return [message.q for message in link.written if isinstance(message, wire.Message)]


def a_session_asks_for_what_it_missed() -> None:
    edge, link, session = logged_in()
    session.deliver(item(0, 1))
    session.deliver(item(2, 3))
    check(3, "no gap is forwarded", shown(link) == [1], f"forwarded {shown(link)}")
    rewinds = [rewind.last for rewind in edge.of(m.Rewind)]
    check(2, "a gap is asked for", rewinds == [1], f"asked for {rewinds}")
    for q in (2, 3):
        session.deliver(item(q - 1, q))
    check(3, "in order", shown(link) == [1, 2, 3], f"forwarded {shown(link)}")


def a_session_forwards_an_item_once() -> None:
    _edge, link, session = logged_in()
    for q in (1, 2, 1, 2, 3):
        session.deliver(item(q - 1, q))
    check(2, "shown once", shown(link) == [1, 2, 3], f"forwarded {shown(link)}")


def a_session_repeats_unanswered_submits() -> None:
    edge, _link, session = logged_in()
    for c in (1, 2, 3):
        say(session, wire.Submit(c, "alice", msgspec.Raw(BODY)))
    session.deliver(a.Stored(2, 102))
    edge.told.clear()
    edge.wait(session, 5)
    again = [submit.c for submit in edge.of(m.Submit)]
    check(2, "retried until acknowledged", again == [1, 3], f"repeated {again}")


def a_confirm_from_before_the_connection_moves_the_session_on() -> None:
    edge, link, session = logged_in(tail=6)
    say(session, wire.Confirm(5))
    session.deliver(item(5, 6))
    rewinds = edge.of(m.Rewind)
    check(2, "confirmed items are not asked for", not rewinds, f"asked for {rewinds}")
    check(2, "nothing is lost", shown(link) == [6], f"forwarded {shown(link)}")


def a_forgotten_session_attaches_and_repeats() -> None:
    edge, _link, session = logged_in()
    say(session, wire.Submit(1, "alice", msgspec.Raw(BODY)))
    session.deliver(item(0, 1))
    edge.told.clear()
    session.deliver(a.UnknownSession())
    edge.wait(session, 0.5)
    kinds = [type(message).__name__ for message in edge.told]
    check(7, "sessions attach again", kinds == ["Attach", "Submit"], f"told {kinds}")
    [attach] = edge.of(m.Attach)
    check(2, "nothing is shown twice", attach.last == 1, f"attached after item {attach.last}")


def a_session_attaches_regularly() -> None:
    edge, _link, session = logged_in()
    edge.told.clear()
    edge.wait(session, edge.limits.reattach_s + 1)
    check(2, "told again until heard", len(edge.of(m.Attach)) == 1, f"told {edge.told}")


def a_session_stops_reading_at_its_limit() -> None:
    edge, _link, session = logged_in()
    most = edge.limits.submits_open_max
    for c in range(1, most + 6):
        say(session, wire.Submit(c, "alice", msgspec.Raw(BODY)))
    count = len(edge.of(m.Submit))
    check(5, "open submits are bounded", count == most, f"{count} are unanswered")
    session.deliver(a.Stored(1, 101))
    session.flush()
    count = len(edge.of(m.Submit))
    check(5, "and then it goes on", count == most + 1, f"{count} were told")


SCENES: dict[str, Callable[[], None]] = {
    scene.__name__: scene
    for scene in (
        a_session_asks_for_what_it_missed,
        a_session_forwards_an_item_once,
        a_session_repeats_unanswered_submits,
        a_confirm_from_before_the_connection_moves_the_session_on,
        a_forgotten_session_attaches_and_repeats,
        a_session_attaches_regularly,
        a_session_stops_reading_at_its_limit,
    )
}
