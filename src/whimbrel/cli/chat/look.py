"""How the chat shows names, times and check marks: words and colours in one place."""

from datetime import UTC, datetime

from textual.content import Content

from whimbrel.client.words import DELIVERED, FAILED, QUEUED, READ, STORED

MARKS = {QUEUED: "…", STORED: "✓", DELIVERED: "✓✓", READ: "✓✓", FAILED: "✗"}
REASONS = {
    "unknown-recipient": "nobody has this address",
    "blocked": "not accepted",
    "expired": "not collected in time",
    "trimmed": "too many were waiting",
    "replaced": "you registered again, send it once more",
}


def mark(state: int, code: str = "") -> Content:
    """One = stored on the server, two = on the other device, blue = read."""
    if state == FAILED:
        return Content.styled(f"✗ {REASONS.get(code, code)}", "$text-error")
    if state == READ:
        return Content.styled(MARKS[READ], "bold $read")
    return Content.styled(MARKS[state], "$faint")


def clock(at_us: int) -> str:
    return f"{_local(at_us):%H:%M}"


def short_time(at_us: int, now: datetime) -> str:
    """For the list of conversations: the hour today, else the day."""
    at = _local(at_us)
    if at.date() == now.date():
        return f"{at:%H:%M}"
    if (now.date() - at.date()).days < 7:
        return f"{at:%a}"
    return f"{at:%d.%m.}"


def day(at_us: int, now: datetime) -> str:
    """For the line between two days."""
    at = _local(at_us)
    days = (now.date() - at.date()).days
    if days == 0:
        return "Today"
    if days == 1:
        return "Yesterday"
    return f"{at:%A, %d %B %Y}"


def last_seen(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "offline"
    local = at.astimezone()
    if local.date() == now.date():
        return f"last seen {local:%H:%M}"
    return f"last seen {local:%d %b %H:%M}"


def now_local() -> datetime:
    return datetime.now(UTC).astimezone()


def _local(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).astimezone()
