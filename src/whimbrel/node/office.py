"""The office: everything that administration over HTTP is handed (edge/http/office.py).

Small functions between the parts of the node and the shapes of the interface.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from whimbrel.domain.answers import Inspected, ToSession
from whimbrel.domain.errors import Busy, Unready
from whimbrel.domain.messages import Inspect
from whimbrel.edge.http.office import Attempts, Office
from whimbrel.edge.http.shapes import (
    ActorState,
    AuditShown,
    FindingLine,
    SessionLine,
    Settings,
    TraceLine,
    Traces,
    TraceShown,
)
from whimbrel.edge.session import Session
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.node.acts import ActLog
from whimbrel.node.shared_acts import SharedActs
from whimbrel.node.shown import shown
from whimbrel.node.timeline import LiveFacts, LiveSession, timeline
from whimbrel.node.tokens import TokenFile
from whimbrel.runtime.cell import ASLEEP, GONE, LOADING, NEVER, PAUSED, READY, WAITING
from whimbrel.storage.ledger import Traced, opened, traced

if TYPE_CHECKING:
    from whimbrel.node.assemble import Node

STATUS = {
    READY: "ready",
    ASLEEP: "asleep",
    LOADING: "loading",
    WAITING: "waiting",
    PAUSED: "paused",
    GONE: "asleep",
}


def open_office(node: "Node") -> Office:
    now_us = node.clock.now_us
    live = node.live
    own = ActLog(node.folder, now_us)
    return Office(
        tokens=TokenFile(node.folder, now_us),
        acts=own if node.side is None else SharedActs(own, node.side),
        feed=live.feed,
        attempts=Attempts(now_us),
        snapshot=live.snapshot,
        history=live.history,
        histograms=live.histograms,
        settings=lambda: Settings(shown(node.config)),
        actor=lambda key: actor_state(node, key),
        session=lambda number: session_line(node, number),
        audit=lambda: audit_shown(node),
        audit_now=node.auditor.now,
        trace=lambda id: traces(node, id),
    )


def actor_state(node: "Node", key: int) -> ActorState | None:
    cell = node.engine.cells.get(key)
    if cell is None:
        return None
    alarm_s = (cell.alarm_us - node.clock.monotonic_us()) / 1e6
    return ActorState(
        STATUS[cell.status],
        cell.queued,
        cell.needs if cell.needy is not None else 0,
        round(max(0.0, alarm_s), 3) if cell.alarm_us < NEVER else -1.0,
    )


def session_line(node: "Node", number: int) -> SessionLine | None:
    """An XMPP session may outlive its connection; then it `waits`."""
    sink: Any = node.sessions.sinks.get(number)
    now_s = node.listener.now_s
    if isinstance(sink, Session):
        age_s = now_s - sink.started_s
        return SessionLine(
            sink.front, sink.whence, sink.agent, round(age_s, 1), sink.unsent_bytes, 0
        )
    if isinstance(sink, XmppSession):
        stream = sink.stream
        if stream is None:
            return SessionLine("xmpp", "", sink.resource, 0.0, 0, 0, waiting=True)
        age_s = now_s - stream.started_s
        return SessionLine(
            stream.front, stream.link.address, sink.resource, round(age_s, 1),
            stream.unsent_bytes, 0,
        )  # fmt: skip
    return None


def audit_shown(node: "Node") -> AuditShown:
    auditor, last = node.auditor, node.auditor.last
    if last is None:
        return AuditShown(0, 0.0, 0, 0, 0, {}, [])
    findings = [FindingLine(f.what, f.sender, f.recipient, f.id) for f in last.findings]
    return AuditShown(
        auditor.at_us, round(auditor.took_s, 3), last.accounts, last.messages, last.unexplained,
        dict(last.classes), findings,
    )  # fmt: skip


async def traces(node: "Node", id: int) -> Traces:
    """The database in a thread, what only memory knows from the actors. Raises Unready."""
    found = await asyncio.to_thread(_read, node, id)
    return Traces([await _shown(node, one) for one in found])


def _read(node: "Node", id: int) -> list[Traced]:
    with opened(node.folder) as db:
        return traced(db, id)


async def _shown(node: "Node", one: Traced) -> TraceShown:
    facts = await live_facts(node, one)
    lines = [TraceLine(at_us, what, more) for at_us, what, more in timeline(one, facts)]
    return TraceShown(one.id, one.sender, one.recipient, one.device, one.c, lines)


async def live_facts(node: "Node", one: Traced) -> LiveFacts | None:
    """None if the actors do not answer, or the recipient is not known any more."""
    if not one.recipient_number:
        return None
    try:
        told = await _inspect(node, one.sender_number, one.recipient_number, one.id)
        seen = await _inspect(node, one.recipient_number, one.sender_number, one.id)
    except (Busy, Unready):
        return None
    if not isinstance(told, Inspected) or not isinstance(seen, Inspected):
        return None
    sessions = [LiveSession(*session) for session in seen.live]
    return LiveFacts(told.attempts, told.retry_in_us / 1e6, sessions)


async def _inspect(node: "Node", account: int, peer: int, id: int) -> ToSession:
    return await node.asking.ask(account, lambda reply: Inspect(peer=peer, id=id, reply=reply))
