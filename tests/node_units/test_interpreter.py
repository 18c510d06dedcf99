"""Effects become deeds: each in its place and not before its time; secrets reach no log."""

from typing import Any, get_args

import pytest

from tests.world import StillClock, World
from whimbrel.domain import answers as a
from whimbrel.domain import effects
from whimbrel.domain import messages as m
from whimbrel.domain.batch import ADD, Batch
from whimbrel.domain.effects import Effect, Note, Push, ReadInbox, Reply, SendPin, Tell
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.domain.rows import CounterRow, Row
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Attachment
from whimbrel.node.interpreter import Interpreter
from whimbrel.node.sessions import Sessions

HERE, ELSEWHERE = 2, 3  # two accounts


class Log:
    """Keeps what it is told, instead of the terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, text: str, **facts: Any) -> None:
        self.lines.append(f"{text} {facts}")

    info = warning = error


class EngineStub:
    """Notes what the interpreter makes the engine do."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []

    def tell(self, key: int, message: Any) -> None:
        self.done.append(("tell", key))

    def read(self, key: int, want: Any, then: Any) -> None:
        self.done.append(("read", key))

    def post(self, key: int, message: Any) -> bool:
        self.done.append(("post", key))
        return True


class Others:
    """The other nodes of a cluster."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []

    def owns(self, account: int) -> bool:
        return account == HERE

    def tenure(self, account: int) -> int:
        return 0 if account == HERE else -1

    def tell(self, account: int, message: Any) -> bool:
        self.heard.append(("tell", account))
        return True

    def push(self, session: int, answer: Any) -> None:
        self.heard.append(("push", session))

    def reply(self, number: int, answer: Any) -> None:
        self.heard.append(("reply", number))

    def forgot(self) -> None:
        self.heard.append(("forgot", 0))


class Sink:
    """A session: what it was given, and what it was made to send."""

    def __init__(self) -> None:
        self.account = 0
        self.given: list[Any] = []
        self.flushes = 0

    def deliver(self, answer: a.ToSession) -> None:
        self.given.append(answer)

    def flush(self) -> None:
        self.flushes += 1


class Office:
    """An interpreter between stubs."""

    def __init__(self, cluster: Others | None = None) -> None:
        self.engine = EngineStub()
        self.pins: list[tuple[str, str]] = []
        self.sessions = Sessions(1)
        self.host = Interpreter(
            self.sessions,
            Limits(),
            StillClock(),
            1,
            lambda number, pin: self.pins.append((number, pin)),
            cluster=cluster,
        )
        self.host.engine = self.engine  # type: ignore[assignment]

    def perform(self, *effects: Any) -> tuple[Batch, list[Any]]:
        batch, releases = self.host.new_batch(1), list[Any]()
        self.host.perform(HERE, list(effects), batch, releases)
        return batch, releases


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr("whimbrel.node.interpreter.log", log)
    return log


SAMPLES: list[Effect] = [
    Tell(HERE, m.Alarm()),
    Push(7, a.UnknownSession()),
    Reply(7, a.UnknownSession()),
    ReadInbox(HERE, 1, 7, 0, 9, 10, 1_000),
    SendPin("+491511234567", "12345"),
    Note("submit-refused:busy"),
    CounterRow("x", 1, 1),
]


def test_every_kind_of_effect_has_a_sample_here_and_every_row_a_place_in_the_batch() -> None:
    assert set(Row.__subclasses__()) == set(ADD)
    assert set(get_args(Effect)) - {Row} == {type(sample) for sample in SAMPLES} - set(ADD)
    declared = {kind for kind in vars(effects).values() if isinstance(kind, type)}
    own = {kind for kind in declared if kind.__module__ == effects.__name__}
    assert own == set(get_args(Effect)) - {Row}, "declared, but not in the union"


@pytest.mark.parametrize("effect", SAMPLES, ids=lambda effect: type(effect).__name__)
def test_an_effect_leads_to_exactly_one_deed(effect: Effect) -> None:
    office = Office()
    batch, releases = office.perform(effect)
    deeds = [batch.rows, len(releases), len(office.engine.done), sum(office.host.counts.values())]
    assert sorted(deeds) == [0, 0, 0, 1]
    assert office.pins == [], "not before the commit"


def test_what_is_no_effect_is_refused() -> None:
    with pytest.raises(AssertionError):
        Office().perform(m.Alarm())


def test_a_read_waits_for_the_rows_that_were_returned_with_it() -> None:
    """Performed in the order given, the read would come before its own writes."""
    office = Office()
    seen: list[int] = []
    batch = Batch(1)
    office.engine.read = lambda key, want, then: seen.append(batch.rows)  # type: ignore[method-assign]
    returned = [ReadInbox(HERE, 1, 7, 0, 9, 10, 1_000), CounterRow("x", 1, 1)]
    office.host.perform(HERE, returned, batch, [])
    assert seen == [1]


def test_a_session_is_flushed_once_for_all_it_is_given_in_a_turn() -> None:
    office = Office()
    first, second = Sink(), Sink()
    one, two = office.sessions.open(first), office.sessions.open(second)
    office.host.release(
        [Push(n, a.UnknownSession()) for n in (one, two, one, one)] + [Push(99, a.UnknownSession())]
    )
    assert [(len(sink.given), sink.flushes) for sink in (first, second)] == [(3, 1), (1, 1)]


def test_a_reply_is_given_to_its_caller_once() -> None:
    office = Office()
    answers: list[Any] = []
    office.host.replies[5] = answers.append
    office.host.release([Reply(5, a.UnknownSession()), Reply(5, a.UnknownSession())])
    assert answers == [a.UnknownSession()]
    assert office.host.replies == {}


def test_a_pin_is_handed_on_after_the_commit_and_written_nowhere(log: Log) -> None:
    office = Office()
    _, releases = office.perform(SendPin("+491511234567", "98765"))
    office.host.release(releases)
    assert office.pins == [("+491511234567", "98765")]
    assert log.lines == []


def test_words_for_other_nodes_leave_after_the_commit_only() -> None:
    others = Others()
    office = Office(others)
    _, releases = office.perform(Tell(HERE, m.Alarm()), Tell(ELSEWHERE, m.Alarm()))
    assert office.engine.done == [("tell", HERE)]
    assert others.heard == []
    office.host.release([*releases, Push(99, a.UnknownSession())])
    assert others.heard == [("tell", ELSEWHERE), ("push", 99)]


def test_a_dead_letter_says_what_it_was_and_never_what_it_said(log: Log) -> None:
    office = Office()
    submit = m.Submit(1, 7, 3, "bob", HERE, 9, b"for bob only")
    error = ValueError("for bob only")
    letter = office.host.dead_letter(HERE, submit, error, Turn(5, 5, Limits()))
    office.host.crashed(HERE, submit, error)
    assert "Submit" in str(letter)
    assert "c=3" in str(letter)
    assert "bob only" not in str(letter)
    assert log.lines
    assert not [line for line in log.lines if "bob only" in line]


def test_the_stack_of_a_crash_is_told_without_values(log: Log) -> None:
    office = Office()
    try:
        raise KeyError("for bob only")
    except KeyError as error:
        office.host.crashed(HERE, m.Alarm(), error)
    assert "test_the_stack_of_a_crash" in log.lines[0]
    assert "KeyError" in log.lines[0]
    assert "values(" not in log.lines[0]
    assert "bob only" not in log.lines[0].replace('raise KeyError("for bob only")', "")


def test_after_a_failed_commit_everybody_hears_that_and_nothing_else(log: Log) -> None:
    office = Office()
    sink = Sink()
    session = office.sessions.open(sink)
    office.sessions.asleep(HERE, {1: Attachment(1, session, 1, 0)})
    answers: list[Any] = []
    office.host.replies = {1: answers.append, 2: answers.append}
    releases = [Reply(1, a.Removed()), Push(session, a.Stored(1, 1))]
    office.host.failed(Outcome.UNKNOWN, "", releases)
    assert office.sessions.awake(HERE) == {}, "an attachment of before means nothing now"
    assert answers == [None, None], "the one in the batch and the one that still waited"
    assert sink.given == [a.UnknownSession()]
    assert sink.flushes == 1
    assert office.host.trouble == "unknown"
    assert len(log.lines) == 1
    office.host.recovered()
    assert office.host.trouble == ""


def test_sessions_of_a_crashed_actor_attach_again_and_lose_nothing() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    heard = len(bob.of(a.UnknownSession))
    world.host.dropped(bob.number, world.state("bob"))
    assert len(bob.of(a.UnknownSession)) == heard + 1
    world.run()
    alice.say("bob", "still there?")
    assert bob.texts() == ["still there?"]
