"""Alerts as messages to administrators, from the account "whimbrel" on this very server.

Changes are gathered for a moment and leave as one message; while more follow, the pause doubles up
to PAUSE_MAX_S, so that an alert that comes and goes does not flood anybody. What has not reached an
administrator's devices is counted: beyond AWAY_MAX nothing more is sent until they come, and then
one message tells what is true by then. Law: nobody is told of their own inbox or their own slow
device, else each message would be the reason of the next.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import structlog

from whimbrel.node.alerts import Alert

log = structlog.get_logger("whimbrel.alerts")

NAME = "whimbrel"
GATHER_S = 2.0
PAUSE_S = 5.0
PAUSE_MAX_S = 600.0
AWAY_MAX = 20
OF_THE_READER = frozenset({"inbox_messages", "window_percent", "output_bytes", "mailbox_length"})


class Later(Protocol):
    def __call__(self, delay_s: float, call: Callable[[], None], /) -> object: ...


class Chatter:
    """send: (account, text) -> taken. stored(), delivered() and refused() come back from it."""

    def __init__(
        self,
        accounts: Sequence[str],
        domain: str,
        send: Callable[[str, str], bool],
        later: Later,
        now_s: Callable[[], float],
    ) -> None:
        self._readers = {each: _Reader(each, domain, send, later, now_s) for each in accounts}

    def tell(self, alert: Alert) -> None:
        for account, reader in self._readers.items():
            if not (alert.owner == account and alert.name in OF_THE_READER):
                reader.tell(alert)

    def stored(self, account: str, id: int) -> None:
        reader = self._readers.get(account)
        if reader is not None and id:
            reader.away.append(id)

    def delivered(self, account: str, upto: int) -> None:
        reader = self._readers.get(account)
        if reader is not None:
            reader.came(upto)

    def refused(self, account: str, code: str) -> None:
        log.warning("an administrator cannot be told", account=account, code=code)


class _Reader:
    """One administrator: what there is to tell, and when."""

    def __init__(
        self,
        account: str,
        domain: str,
        send: Callable[[str, str], bool],
        later: Later,
        now_s: Callable[[], float],
    ) -> None:
        self.away: list[int] = []  # sent, and not on a device yet
        self._account = account
        self._domain = domain
        self._send = send
        self._later = later
        self._now_s = now_s
        self._changes: dict[str, tuple[Alert, int]] = {}  # by name: the last one, how many
        self._pause_s = PAUSE_S  # between the last message and the next one
        self._told_s = -PAUSE_MAX_S
        self._waits = False  # a timer is set

    def tell(self, alert: Alert) -> None:
        _, count = self._changes.get(alert.name, (alert, 0))
        self._changes[alert.name] = (alert, count + 1)
        if not self._waits:
            self._wait()

    def _wait(self) -> None:
        quiet_s = self._now_s() - self._told_s
        if quiet_s >= 2 * PAUSE_MAX_S:
            self._pause_s = PAUSE_S
        self._waits = True
        self._later(max(GATHER_S, self._pause_s - quiet_s), self._due)

    def came(self, upto: int) -> None:
        self.away = [id for id in self.away if id > upto]
        if self._changes and not self._waits:
            self._wait()

    def _due(self) -> None:
        """The pause is over: tell what has gathered, or leave it until they come (came())."""
        self._waits = False
        if len(self.away) < AWAY_MAX and self._send(
            self._account, letter(self._changes.values(), self._domain)
        ):
            self._changes.clear()
            self._told_s = self._now_s()
            self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)


def letter(changes: Iterable[tuple[Alert, int]], domain: str) -> str:
    """What administrators read."""
    lines = [domain]
    for alert, count in changes:
        lines.append("")
        if alert.active:
            lines.append(f"{'CRITICAL' if alert.grave else 'ALERT'}  {alert.owner}: {alert.text}.")
            lines.append(f"Likely cause: {alert.cause}.")
        else:
            seconds = alert.at_s - alert.since_s
            lines.append(f"CLEARED after {seconds:,.0f} s  {alert.owner}: {alert.text}.")
        if count > 2:
            lines.append(f"({count} changes since the last message)")
    return "\n".join(lines)
