"""What a session has said finds nobody, as between nodes: it says it again, and not too often."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from whimbrel.domain import answers as a
from whimbrel.domain import im
from whimbrel.domain import messages as m
from whimbrel.domain.ids import account_number
from whimbrel.domain.limits import Limits
from whimbrel.edge.framed import FramedSession
from whimbrel.edge.xmpp.hub import Hub
from whimbrel.edge.xmpp.login import Login
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.settings import XmppSettings
from whimbrel.protocol import wire
from whimbrel.protocol.frames import encode_frame
from whimbrel.protocol.native import MsgpackCodec
from whimbrel.protocol.sasl.failures import SaslFailure


class Edge:
    """All that a session asks of its node; whatever it tells is kept."""

    def __init__(self) -> None:
        self.router: Any = self
        self.numbers: Any = self
        self.limits = Limits()
        self.counts: Counter[str] = Counter()
        self.now_s = 1_000.0
        self.told: list[m.ToActor] = []
        self.takes = True
        self._waiting: list[tuple[float, Callable[[], None]]] = []

    def open(self, sink: Any) -> int:
        return 64

    def tell(self, account: int, message: m.ToActor) -> bool:
        self.told += [message] * self.takes
        return self.takes

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._waiting.append((self.now_s + delay_s, call))

    def passes(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while due := [each for each in self._waiting if each[0] <= end_s]:
            first = min(due, key=lambda each: each[0])
            self._waiting.remove(first)
            self.now_s = max(self.now_s, first[0])
            first[1]()
        self.now_s = end_s

    def heard(self, kind: type) -> int:
        return sum(isinstance(each, kind) for each in self.told)

    def ready(self) -> bool:
        return True

    def may_log_in(self, address: str, account: int) -> bool:
        return True

    def wall_us(self) -> int:
        return 0

    def close(self, number: int) -> None: ...
    def login_failed(self, address: str, account: int) -> None: ...
    def authenticated(self, session: Any) -> None: ...
    def ended(self, session: Any) -> None: ...
    def keep(self, address: str, password: str) -> bytes:
        return b""


class Link:
    address = "device"
    unsent_bytes = 0
    is_slow = False

    def write(self, data: bytes) -> None: ...
    def flush(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self, code: str = "") -> None: ...
    def abort(self) -> None: ...


@pytest.fixture
def edge() -> Edge:
    return Edge()


@pytest.fixture
def session(edge: Edge) -> FramedSession:
    """It has said hello, and nobody has answered."""
    session = FramedSession(edge, MsgpackCodec(), Link())
    hello = wire.Hello(wire.VERSION, "alice", 1, "key", 0)
    session.received(encode_frame(MsgpackCodec().encode(hello)))
    assert edge.heard(m.Hello) == 1
    return session


def welcome(session: FramedSession) -> None:
    session.deliver(a.Welcome("alice", 1, 64, 0, 0, 0, 0))


def hub_of(edge: Edge) -> Hub:
    return Hub(edge, "d.example", XmppSettings(), [], lambda address: b"", lambda: b"")


def test_a_hello_is_said_again_as_soon_as_its_account_has_an_owner(
    edge: Edge, session: FramedSession
) -> None:
    session.deliver(a.UnknownSession())
    session.deliver(a.UnknownSession())
    edge.passes(0.2)
    assert edge.heard(m.Hello) == 2
    welcome(session)
    assert session.welcomed


def test_hellos_that_find_nobody_come_less_and_less_often(
    edge: Edge, session: FramedSession
) -> None:
    for _ in range(90):
        session.deliver(a.UnknownSession())
        edge.passes(0.1)
    assert 6 <= edge.heard(m.Hello) <= 9, "after 0.1, 0.2, 0.4 .. 5 s"


def test_two_words_of_the_same_move_are_one_attach(edge: Edge, session: FramedSession) -> None:
    welcome(session)
    edge.passes(30)
    session.deliver(a.UnknownSession())
    edge.passes(0.05)
    session.deliver(a.UnknownSession())
    edge.passes(5)
    assert edge.heard(m.Attach) == 1


def test_after_a_calm_time_an_attach_is_as_quick_as_the_first(
    edge: Edge, session: FramedSession
) -> None:
    welcome(session)
    for attach in range(1, 6):  # a rolling upgrade: one move after the other
        edge.passes(15)
        session.deliver(a.UnknownSession())
        edge.passes(0.11)
        assert edge.heard(m.Attach) == attach


def say(session: FramedSession, message: wire.Wire) -> None:
    session.received(encode_frame(MsgpackCodec().encode(message)))


def test_a_mark_that_was_lost_is_said_again_until_it_is_answered(
    edge: Edge, session: FramedSession
) -> None:
    welcome(session)
    say(session, wire.Read("bob", 7))
    say(session, wire.Read("carol", 8))
    session.deliver(a.ReadDone("carol", 8))
    edge.passes(edge.limits.resend_first_s)
    session.sweep()
    assert [each.id for each in edge.told if isinstance(each, m.MarkRead)] == [7, 8, 7]
    session.deliver(a.ReadDone("bob", 7))
    edge.passes(20)
    session.sweep()
    assert edge.heard(m.MarkRead) == 3


def test_an_account_that_has_moved_hears_the_last_word_of_each(
    edge: Edge, session: FramedSession
) -> None:
    welcome(session)
    for on in (True, False):
        say(session, wire.Block("bob", on))
    say(session, wire.Hide(True))
    session.deliver(a.BlockDone("bob", True))
    session.deliver(a.UnknownSession())
    edge.passes(0.2)
    again = edge.told[-2:]
    assert again == [m.Block(1, 64, "bob", account_number("bob"), False), m.Hide(1, 64, True)]


def test_a_command_that_nobody_answers_is_not_said_for_ever(
    edge: Edge, session: FramedSession
) -> None:
    welcome(session)
    say(session, wire.Read("bob", 7))
    for _ in range(40):
        edge.passes(1)
        session.heard_s = edge.now_s
        session.sweep()
    assert edge.heard(m.MarkRead) == 3


def test_a_command_that_was_refused_is_not_said_again(edge: Edge, session: FramedSession) -> None:
    welcome(session)
    say(session, wire.Read("nobody", 7))
    session.deliver(a.CommandRefused("read", "unknown-recipient"))
    edge.passes(edge.limits.resend_first_s)
    session.sweep()
    assert edge.heard(m.MarkRead) == 1


def test_an_xmpp_client_whose_bind_was_lost_is_bound_all_the_same(edge: Edge) -> None:
    class Stream:
        over = False

        def go_on(self) -> None: ...

    hub = hub_of(edge)
    session = XmppSession(hub, Stream(), "alice", 5, 1)  # type: ignore[arg-type]
    session.bind("phone")
    session.deliver(a.UnknownSession())
    edge.passes(0.2)
    assert edge.told == [im.Bind(64, 1, "phone")] * 2, "at once, when the account has an owner"
    edge.passes(edge.limits.resend_first_s)
    hub.sweep()
    hub.sweep()
    assert edge.told == [im.Bind(64, 1, "phone")] * 3, "and every other second"


class Client:
    """A bound XMPP session without a stream, and what became of its questions."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.answers: list[Any] = []
        self.lost = 0
        self.session = XmppSession(hub_of(edge), None, "alice", 5, 1)
        self.session.bind("phone")
        self.session.deliver(im.Bound("alice", 3, "phone", 64, 1))

    def ask(self, make: Callable[[int], m.ToActor]) -> None:
        assert self.session.ask(make, self.answers.append, self._not_answered)

    def _not_answered(self) -> None:
        self.lost += 1

    def passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self.edge.passes(1)
            self.session.sweep_line(self.edge.now_s)


def test_a_question_that_was_lost_is_asked_again_and_answered_once(edge: Edge) -> None:
    client = Client(edge)
    client.ask(lambda tag: im.RosterGet(3, 64, tag))
    client.passes(2)
    assert edge.heard(im.RosterGet) == 2
    for _ in range(2):
        client.session.deliver(im.RosterGot(1, ()))
    client.passes(20)
    assert client.answers == [im.RosterGot(1, ())]
    assert edge.heard(im.RosterGet) == 2
    assert client.lost == 0


def test_a_question_that_nobody_answers_fails_after_a_few_seconds(edge: Edge) -> None:
    client = Client(edge)
    client.ask(lambda tag: im.RosterGet(3, 64, tag))
    client.passes(9)
    assert client.lost == 0
    client.passes(20)
    assert client.lost == 1
    assert edge.heard(im.RosterGet) == 3
    assert edge.counts["unanswered"] == 1


def test_what_would_be_another_thing_the_second_time_is_not_asked_again(edge: Edge) -> None:
    client = Client(edge)
    client.ask(lambda tag: im.NewKey(3, 64, tag, b"", b""))
    client.passes(20)
    assert edge.heard(im.NewKey) == 1
    assert client.lost == 1


def test_questions_are_asked_again_at_once_where_the_account_has_gone(edge: Edge) -> None:
    client = Client(edge)
    client.ask(lambda tag: im.RosterGet(3, 64, tag))
    client.session.deliver(a.UnknownSession())
    edge.passes(0.2)
    assert [type(each) for each in edge.told[-2:]] == [m.Attach, im.RosterGet]


class Exchange(Login):
    def __init__(self, edge: Edge) -> None:
        self.failures: list[str] = []
        self.challenges = 0
        super().__init__(
            hub_of(edge), "network", 64, True, {}, self._challenged, lambda *_: None, self._refused
        )

    def _challenged(self, data: bytes) -> None:
        self.challenges += 1

    def _refused(self, failure: SaslFailure) -> None:
        self.failures.append(failure.condition)


def test_a_login_whose_question_was_lost_asks_again_and_takes_one_answer(edge: Edge) -> None:
    login = Exchange(edge)
    login.start("SCRAM-SHA-256", b"n,,n=alice,r=abcdefgh")
    login.sweep(edge.now_s)
    assert edge.heard(im.Credentials) == 1
    edge.passes(edge.limits.resend_first_s)
    login.sweep(edge.now_s)
    assert edge.heard(im.Credentials) == 2
    for _ in range(2):
        login.on_keys(im.Keys("alice", ()))
    assert login.challenges == 1
    assert login.failures == []


def test_a_login_waits_for_an_account_that_has_no_owner_for_a_moment(edge: Edge) -> None:
    login = Exchange(edge)
    edge.takes = False
    login.start("SCRAM-SHA-256", b"n,,n=alice,r=abcdefgh")
    edge.passes(0.5)
    assert login.failures == []
    edge.takes = True
    edge.passes(0.1)
    assert edge.heard(im.Credentials) == 1


def test_a_login_that_nobody_takes_fails_for_the_moment_and_not_for_good(edge: Edge) -> None:
    login = Exchange(edge)
    edge.takes = False
    login.start("SCRAM-SHA-256", b"n,,n=alice,r=abcdefgh")
    edge.passes(3)
    assert login.failures == ["temporary-auth-failure"]
