"""Traces of a message's way, for OpenTelemetry: submit, turn, commit, deliver, push, confirm.

Optional (`pip install whimbrel[otel]`, `[traces] on = true`); without it nothing of this file is
loaded, and the parts that it stands between are the plain ones. A share of all messages is
followed, chosen by sender and number. Law: spans carry numbers, times and sizes, never a body or
an address.

Three places are listened at: the router (a device submits), the interpreter (what rules want done,
and what a commit releases), and the store (the commit). All on the loop's thread.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, StatusCode, Tracer, set_span_in_context

from whimbrel import __version__
from whimbrel.domain.answers import Item, Stored
from whimbrel.domain.batch import Batch
from whimbrel.domain.effects import Push, Tell
from whimbrel.domain.ids import account_number
from whimbrel.domain.messages import Receipt, Submit, ToActor
from whimbrel.domain.ports import Outcome, Router
from whimbrel.domain.rows import DELIVERED, MESSAGE, InboxRow, SentMarks, SentRow
from whimbrel.domain.turn import Turn
from whimbrel.node.config import Traces
from whimbrel.node.interpreter import Interpreter
from whimbrel.node.storing import NodeStore

UNDER_WAY_MAX = 1_000  # traces that have not ended; the oldest is given up
SPREAD = 0x9E3779B97F4A7C15  # of Fibonacci hashing: neighbours fall far apart
MASK = (1 << 64) - 1

Done = Callable[[Outcome, str], None]


class Way:
    """One message under way. id: 0 until it was accepted."""

    __slots__ = (
        "committed_ns",
        "confirmed",
        "context",
        "id",
        "pushed_ns",
        "recipient",
        "root",
        "sender",
        "submitted",
    )

    def __init__(self, sender: int, root: Span, submitted: Span) -> None:
        self.sender = sender
        self.recipient = 0
        self.id = 0
        self.root = root
        self.context = set_span_in_context(root)
        self.submitted: Span | None = submitted
        self.committed_ns = 0
        self.pushed_ns = 0
        self.confirmed = False


class Tracing:
    """The spans of messages under way. exporter: None: OTLP over HTTP, as the settings say."""

    def __init__(self, settings: Traces, exporter: SpanExporter | None = None) -> None:
        resource = Resource.create({"service.name": "whimbrel", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.processor: SpanProcessor = BatchSpanProcessor(exporter or _otlp(settings))
        self._provider.add_span_processor(self.processor)
        self._tracer: Tracer = self._provider.get_tracer("whimbrel")
        self._share = int(settings.share * MASK)
        self._submitted: OrderedDict[tuple[int, int, int], Way] = OrderedDict()
        self._ways: OrderedDict[tuple[int, int], Way] = OrderedDict()  # by sender and id
        self._in_batch: dict[int, list[Way]] = {}
        self._turn_ns = 0

    def close(self) -> None:
        """Tell what has ended; waits for the receiver a few seconds at most."""
        self._provider.shutdown()

    # ---- a device submits ----------------------------------------------------------------

    def told(self, key: int, message: Submit) -> None:
        mixed = ((key ^ message.device) * SPREAD + message.c * SPREAD) & MASK
        if mixed > self._share:
            return
        place = (key, message.device, message.c)
        if place in self._submitted:
            return  # sent again
        root = self._tracer.start_span(
            "message",
            attributes={
                "whimbrel.sender": key, "whimbrel.device": message.device,
                "whimbrel.c": message.c, "whimbrel.bytes": len(message.body),
            },
        )  # fmt: skip
        submitted = self._tracer.start_span("submit", set_span_in_context(root))
        self._submitted[place] = Way(key, root, submitted)
        if len(self._submitted) > UNDER_WAY_MAX:
            _give_up(self._submitted.popitem(last=False)[1])

    def begin_turn(self) -> None:
        self._turn_ns = time.time_ns()

    # ---- what rules want done ------------------------------------------------------------

    @property
    def idle(self) -> bool:
        return not self._submitted and not self._ways

    def performed(self, effects: Sequence[Any], batch: Batch) -> None:
        for effect in effects:
            kind = type(effect)
            if kind is SentRow:
                self._accepted(effect, batch)
            elif kind is InboxRow and effect.kind == MESSAGE:
                self._delivered(effect)
            elif kind is SentMarks and effect.state == DELIVERED:
                self._marked(effect)
            elif kind is Tell and type(effect.message) is Receipt:
                self._confirmed(effect.to, effect.message)

    def _accepted(self, row: SentRow, batch: Batch) -> None:
        way = self._submitted.pop((row.owner, row.device, row.c), None)
        if way is None:
            return
        assert way.submitted is not None
        way.submitted.end(self._turn_ns)
        way.submitted = None
        if row.code:
            way.root.set_attribute("whimbrel.refused", row.code)
            _give_up(way)
            return
        way.id, way.recipient = row.id, row.peer
        way.root.set_attribute("whimbrel.id", row.id)
        way.root.set_attribute("whimbrel.recipient", row.peer)
        self._span(way, "turn", self._turn_ns, batch=batch.number)
        self._ways[(way.sender, way.id)] = way
        self._in_batch.setdefault(batch.number, []).append(way)
        if len(self._ways) > UNDER_WAY_MAX:
            _give_up(self._ways.popitem(last=False)[1])

    def _delivered(self, row: InboxRow) -> None:
        way = self._ways.get((row.peer, row.id))
        if way is not None:
            self._span(way, "deliver", self._turn_ns, q=row.q)

    def _confirmed(self, sender: int, receipt: Receipt) -> None:
        for way in self._of(sender, receipt.peer, receipt.delivered_id):
            if not way.confirmed:
                way.confirmed = True
                self._span(way, "confirm", way.pushed_ns)

    def _marked(self, marks: SentMarks) -> None:
        """The ledger says delivered: the second mark is on its way, and this one has arrived."""
        for way in self._of(marks.owner, marks.peer, marks.upto):
            del self._ways[(way.sender, way.id)]
            way.root.set_status(StatusCode.OK)
            way.root.end()

    def _of(self, sender: int, recipient: int, upto: int) -> list[Way]:
        return [
            way
            for way in self._ways.values()
            if way.sender == sender and way.recipient == recipient and way.id <= upto
        ]

    # ---- commits, and what they release --------------------------------------------------

    def committed(self, number: int, began_ns: int, rows: int, outcome: Outcome) -> None:
        for way in self._in_batch.pop(number, ()):
            way.committed_ns = time.time_ns()
            span = self._span(way, "commit", began_ns, rows=rows)
            if outcome is not Outcome.COMMITTED:
                span.set_status(StatusCode.ERROR, outcome.value)

    def released(self, releases: Sequence[Any]) -> None:
        for effect in releases:
            if type(effect) is not Push:
                continue
            answer = effect.answer
            if type(answer) is Item and answer.kind == MESSAGE:
                pushed = self._ways.get((account_number(answer.address), answer.id))
                if pushed is not None and not pushed.pushed_ns:
                    pushed.pushed_ns = time.time_ns()
                    self._span(pushed, "push", pushed.committed_ns, q=answer.q)
            elif type(answer) is Stored:
                for way in self._ways.values():
                    if way.id == answer.id:
                        way.root.add_event("first check mark")

    def _span(self, way: Way, name: str, began_ns: int, **numbers: int) -> Span:
        span = self._tracer.start_span(
            name,
            way.context,
            start_time=began_ns or None,
            attributes={f"whimbrel.{key}": value for key, value in numbers.items()},
        )
        span.end()
        return span


def _give_up(way: Way) -> None:
    if way.submitted is not None:
        way.submitted.end()
    way.root.end()


def _otlp(settings: Traces) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=settings.endpoint)


# ---- the three places -----------------------------------------------------------------------


def follow(
    settings: Traces,
    host: Interpreter,
    router: Router,
    store: NodeStore,
    exporter: SpanExporter | None = None,
) -> Tracing:
    """From here on these parts are listened at. Without this call they are the plain ones."""
    tracing = Tracing(settings, exporter)
    router.tell = _told(router.tell, tracing)  # type: ignore[method-assign, assignment]
    _listen_at_host(host, tracing)
    _listen_at_store(store, tracing)
    return tracing


def _told(tell: Callable[[int, ToActor], bool], tracing: Tracing) -> Callable[[int, ToActor], bool]:
    def told(account: int, message: ToActor) -> bool:
        if type(message) is Submit:
            tracing.told(account, message)
        return tell(account, message)

    return told


def _listen_at_host(host: Interpreter, tracing: Tracing) -> None:
    begin_turn, perform, release = host.begin_turn, host.perform, host.release

    def begun() -> Turn:
        tracing.begin_turn()
        return begin_turn()

    def performed(key: int, effects: list[Any], batch: Batch, releases: list[Any]) -> None:
        perform(key, effects, batch, releases)
        if not tracing.idle:
            tracing.performed(effects, batch)

    def released(releases: list[Any]) -> None:
        release(releases)
        if not tracing.idle:
            tracing.released(releases)

    host.begin_turn = begun  # type: ignore[method-assign]
    host.perform = performed  # type: ignore[method-assign]
    host.release = released  # type: ignore[method-assign]


def _listen_at_store(store: NodeStore, tracing: Tracing) -> None:
    commit = store.commit

    def committed(batch: Batch, done: Done) -> None:
        began_ns = time.time_ns()

        def then(outcome: Outcome, reason: str) -> None:
            tracing.committed(batch.number, began_ns, batch.rows, outcome)
            done(outcome, reason)

        commit(batch, then)

    store.commit = committed  # type: ignore[method-assign]
