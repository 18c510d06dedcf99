"""The interpreter: the one place where effects become deeds.

Rows go into the open batch, tells to the engine, answers into the list that the commit
releases. Read beside domain/effects.py: that pair is the tour of the system. Law 1: nothing
here reaches a socket except in release(), which the engine calls after the commit.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from whimbrel.domain.answers import ToSession, UnknownSession
from whimbrel.domain.batch import ADD, Batch
from whimbrel.domain.discreet import stack_of
from whimbrel.domain.effects import Note, Push, ReadInbox, Reply, SendPin, Tell
from whimbrel.domain.limits import Limits
from whimbrel.domain.messages import Alarm, InboxRead
from whimbrel.domain.ports import Clock, Cluster, Outcome
from whimbrel.domain.rows import DeadLetterRow
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Attachment, User
from whimbrel.domain.wants import InboxWant
from whimbrel.node.sessions import Sessions
from whimbrel.runtime.engine import Engine

log = structlog.get_logger("whimbrel.node")


class Interpreter:
    """The engine's host on a real node and in the simulator alike."""

    alarm = Alarm()

    def __init__(
        self,
        sessions: Sessions,
        limits: Limits,
        clock: Clock,
        era: int,
        send_pin: Callable[[str, str], None],
        adopt: Callable[[Any], None] | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        self.sessions = sessions
        self.limits = limits
        self.clock = clock
        self.era = era
        self.engine: Engine | None = None  # set by assemble, once
        self.counts: Counter[str] = Counter()
        self.trouble = ""  # why the node is not ready
        self.look_for_work: Callable[[], None] = lambda: None  # all actors were dropped
        self.replies: dict[int, Callable[[ToSession | None], None]] = {}
        self._send_pin = send_pin
        self._adopt = adopt
        self.cluster = cluster  # None: every actor and every session lives here

    # ---- gathering -----------------------------------------------------------------------

    def tenure(self, key: int) -> int:
        return self.cluster.tenure(key) if self.cluster is not None else 0

    def begin_turn(self) -> Turn:
        clock = self.clock
        return Turn(clock.now_us(), clock.monotonic_us(), self.limits, self.era)

    def new_batch(self, number: int) -> Batch:
        return Batch(number)

    def adopt(self, key: int, state: Any) -> None:
        if isinstance(state, User):
            state.attached = self.sessions.awake(key)
        elif self._adopt is not None:
            self._adopt(state)

    def asleep(self, key: int, state: Any) -> None:
        if isinstance(state, User):
            self.sessions.asleep(key, state.attached)

    def perform(self, key: int, effects: list[Any], batch: Batch, releases: list[Any]) -> None:
        engine = self.engine
        assert engine is not None
        cluster = self.cluster
        reads: list[ReadInbox] | None = None
        for effect in effects:
            kind = type(effect)
            add = ADD.get(kind)
            if add is not None:
                add(batch, effect)
                batch.rows += 1
            elif kind is Tell:
                if cluster is None or cluster.owns(effect.to):
                    engine.tell(effect.to, effect.message)
                else:
                    releases.append(effect)
            elif kind is Push or kind is Reply or kind is SendPin:
                releases.append(effect)
            elif kind is Note:
                self.counts[effect.name] += effect.times
            else:
                assert kind is ReadInbox, kind
                reads = [*(reads or ()), effect]
        if reads:  # after the rows of these effects: a read waits for its own writes
            for read in reads:
                self._read_inbox(read)

    def _read_inbox(self, effect: ReadInbox) -> None:
        engine = self.engine
        assert engine is not None
        e = effect
        want = InboxWant(e.owner, e.after, e.upto, e.limit, e.bytes)

        def then(answer: Any) -> None:
            rows, upto = answer
            engine.post(e.owner, InboxRead(e.device, e.session, e.after, upto, rows))

        engine.read(e.owner, want, then)

    # ---- releasing -----------------------------------------------------------------------

    def release(self, releases: list[Any]) -> None:
        """The commit has returned: one delivery each, then one flush a session."""
        sinks = self.sessions.sinks
        woken: dict[int, Any] = {}
        for effect in releases:
            if type(effect) is Push:
                sink = sinks.get(effect.session)
                if sink is not None:
                    sink.deliver(effect.answer)
                    woken[effect.session] = sink
                elif self.cluster is not None:
                    self.cluster.push(effect.session, effect.answer)
            elif type(effect) is Reply:
                self.replied(effect.reply, effect.answer)
            elif type(effect) is Tell:
                assert self.cluster is not None
                self.cluster.tell(effect.to, effect.message)
            else:
                self._send_pin(effect.number, effect.pin)
        for sink in woken.values():
            sink.flush()

    def replied(self, reply: int, answer: ToSession | None) -> None:
        then = self.replies.pop(reply, None)
        if then is not None:
            then(answer)
        elif self.cluster is not None:
            self.cluster.reply(reply, answer)  # somebody waits on another node

    def give_up(self, reply: int) -> None:
        """Nobody has answered in time."""
        then = self.replies.pop(reply, None)
        if then is not None:
            then(None)

    # ---- trouble -------------------------------------------------------------------------

    def dropped(self, key: int, state: Any) -> None:
        """An actor crashed: its sessions attach again and repeat what is unanswered."""
        if not isinstance(state, User):
            return
        self._unknown(state.attached.values())

    def abandoned(self, lost: Callable[[int], bool]) -> None:
        """Other nodes write for these accounts now: what sleeping actors left here is stale."""
        self._unknown(self.sessions.abandon(lost))

    def _unknown(self, attached: Iterable[Attachment]) -> None:
        for att in attached:
            sink = self.sessions.sinks.get(att.session)
            if sink is not None:
                sink.deliver(UnknownSession())
                sink.flush()
            elif self.cluster is not None:
                self.cluster.push(att.session, UnknownSession())

    def crashed(self, key: int, message: Any, error: BaseException) -> None:
        """Our bug: the stack goes to the log, without values (bodies are values)."""
        log.error(
            "actor crashed",
            actor=key,
            message=type(message).__name__,
            error=type(error).__name__,
            stack=stack_of(error),
        )

    def dead_letter(
        self, key: int, message: Any, error: BaseException, turn: Turn
    ) -> DeadLetterRow:
        fields = ("sender", "device", "session", "id", "c", "q", "peer")
        known = {name: getattr(message, name) for name in fields if hasattr(message, name)}
        summary = " ".join(f"{name}={value}" for name, value in known.items())
        log.error("message set aside", actor=key, message=type(message).__name__, about=summary)
        return DeadLetterRow(
            key, type(message).__name__, summary, type(error).__name__, turn.now_us
        )

    def failed(self, outcome: Outcome, reason: str, releases: list[Any]) -> None:
        """A commit failed: nobody was told anything; everybody tries again later."""
        self.trouble = reason or outcome.value
        log.error("commit failed, not ready", outcome=outcome.value, reason=reason)
        for effect in releases:
            if type(effect) is Reply:
                self.replied(effect.reply, None)
        for reply in list(self.replies):
            self.replied(reply, None)
        self.sessions.forget_attachments()
        if self.cluster is not None:
            self.cluster.forgot()
        again = UnknownSession()
        for sink in list(self.sessions.sinks.values()):
            sink.deliver(again)
            sink.flush()

    def recovered(self) -> None:
        log.info("store is sound again, ready")
        self.trouble = ""
        self.look_for_work()
