"""The timeline of one message, in the words of operators: `whimbrel trace`, and over HTTP.

Made of durable facts (storage/ledger.py) and of what only the memory of a running server knows.
"""

import msgspec

from whimbrel.domain.rows import DELIVERED, OPEN, READ, REFUSED, REMOVED
from whimbrel.storage.ledger import Traced

Line = tuple[int, str, str]  # when (microseconds; 0: not known), what, more


class LiveSession(msgspec.Struct):
    device: int
    pushed: int
    confirmed: int


class LiveFacts(msgspec.Struct):
    """The running server's part of the story."""

    attempts: int
    retry_in_s: float
    sessions: list[LiveSession]


def timeline(one: Traced, live: LiveFacts | None) -> list[Line]:
    """What happened, in the order in which it must have happened."""
    lines: list[Line] = [(one.accepted_us, "accepted", "on the sender's disk: first check mark")]
    stored = one.stored_id >= one.id
    if one.state == OPEN:
        lines += _under_way(one, live, stored)
    if one.state in (REFUSED, REMOVED):
        lines.append((one.final_us, "given back", f"{one.code}: the sender was told"))
        return lines
    if stored or one.stored_us:
        place = f", item {one.q}" if one.q else ""
        at_us = one.waits_since_us or one.stored_us
        lines.append((at_us, "stored", f"in {one.recipient}'s inbox{place}"))
    lines += _pushed(one, live)
    if one.delivered_us:
        lines.append((one.delivered_us, "confirmed", "a device has it: second check mark"))
    elif one.delivered_id >= one.id:
        lines.append((0, "confirmed", "a device has it; the sender will hear it"))
    if one.read_us:
        lines.append((one.read_us, "read", "blue check marks"))
    if not one.q and one.state in (DELIVERED, READ):
        lines.append((0, "wiped", "no text of it is left on the server"))
    elif one.q and not one.waits_with_body:
        lines.append((0, "wiped", "its text is gone"))
    elif one.q and one.delivered_id >= one.id:
        lines.append((0, "waiting", "for the recipient's other devices"))
    elif one.q:
        lines.append((0, "waiting", "for a device of the recipient"))
    return lines


def _under_way(one: Traced, live: LiveFacts | None, stored: bool) -> list[Line]:
    if stored:
        return [(0, "told", "the answer of the recipient's actor is on its way")]
    if live is None:
        return [(0, "under way", "tried again when the server runs")]
    if live.attempts:
        return [(0, "told", f"{live.attempts} attempts, the next in {live.retry_in_s:.1f} s")]
    return [(0, "queued", "behind older messages to the same person")]


def _pushed(one: Traced, live: LiveFacts | None) -> list[Line]:
    lines: list[Line] = []
    for session in live.sessions if live is not None and one.q else ():
        if session.confirmed < one.q:
            word = "pushed" if session.pushed >= one.q else "lagging"
            lines.append((0, word, f"device {session.device} is at item {session.confirmed}"))
    return lines
