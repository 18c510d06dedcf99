"""What is watched: the figures of one second, the thresholds, and the rule of each alert.

monitor.py fills a Sample, alerts.py judges it by RULES, causes.py says why. docs/operations.md has
a line for every rule (a test holds it to that).
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.domain.errors import BadAddress
from whimbrel.domain.ids import parse_address


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Watching, and who is told; a threshold of 0 switches its alert off."""

    on: bool = True  # measure every second, and judge
    accounts: tuple[str, ...] = ()  # told by a message from the server: ["+4915112345678", "alice"]
    webhook: str = ""  # told in the format of Alertmanager (version 4) with every change
    hold_s: float = 3.0  # a figure has to be too high for so long
    clear_s: float = 10.0  # and low again for so long
    turn_queue_length: int = 5_000  # messages that wait for a turn
    turn_queue_age_ms: int = 1_000  # the oldest of them
    mailbox_length: int = 500  # messages that wait for one actor
    writer_rows: int = 15_000  # row operations that wait for the database; turns wait at 20,000
    output_bytes: int = 131_072  # that one connection has not read yet
    window_percent: int = 95  # of what may be unconfirmed, that one client has left so for 1 s
    commit_ms: int = 500  # the longest commit of the last second, also one that has not ended
    loop_lag_ms: int = 500  # how long nothing at all was served, in the last second
    retries: int = 5_000  # messages of one sender that no actor has acknowledged
    inbox_messages: int = 8_000  # that wait for one account; trimmed at limits.inbox_messages_max
    timers: int = 200_000
    timers_late_ms: int = 2_000  # how late the next one is
    memory_percent: int = 90  # of what the system allows this process, or has
    descriptors_percent: int = 80  # of what the system allows
    disk_free_mib: int = 512  # left where the data is
    certificate_days: int = 14  # until it ends
    audit_findings: int = 1  # messages that the audit cannot explain
    upgrades_undone: int = 1  # that went back by themselves in the last ten minutes
    probe_ms: int = 2_000  # until both check marks of the probe's message
    probe_failures: int = 2  # probes in a row that failed
    __repr__ = discreet

    def mistake(self) -> str:
        """What is wrong with it, or ""."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and value < 0:
                return f"{name}: write 0 or more"
        if self.webhook and not self.webhook.startswith(("http://", "https://")):
            return "webhook: write an address that begins with https:// or http://"
        for account in self.accounts:
            try:
                parse_address(account)
            except BadAddress:
                return f'accounts: "{account}" is no account; write ["+4915112345678", "alice"]'
        return ""


class ProbeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two accounts of the server's own that try whether messages arrive (see [alerts])."""

    on: bool = True
    every_s: float = 10.0  # between two probes
    patience_s: float = 10.0  # of one probe, from connecting to the second check mark
    host: str = ""  # where it connects; empty: this machine, at listen.host

    def mistake(self) -> str:
        """What is wrong with it, or ""."""
        for name in ("every_s", "patience_s"):
            if getattr(self, name) <= 0:
                return f"{name}: write seconds above 0"
        return ""


NO_PROBE = ProbeSettings(on=False)  # where nothing may happen by itself: tests, measuring


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured in one second. Largest values are those of this second."""

    at_s: float = 0.0  # monotonic
    turn_queue_length: int = 0
    turn_queue_age_ms: float = 0.0
    arrived_per_s: float = 0.0
    served_per_s: float = 0.0
    mailbox_length: int = 0
    mailbox_owner: str = ""
    mailbox_state: str = ""  # why its actor serves nothing, if it does not
    hot_owner: str = ""  # who gets most messages
    hot_per_s: float = 0.0
    writer_rows: int = 0
    output_bytes: int = 0
    output_owner: str = ""
    window_percent: float = 0.0
    window_owner: str = ""
    commit_ms: float = 0.0
    turn_ms: float = 0.0
    loop_lag_ms: float = 0.0
    held_at: str = ""  # where the loop was held up
    cpu_part: float = 1.0  # of a core, that this process got
    retries: int = 0
    retries_owner: str = ""
    inbox_messages: int = 0
    inbox_owner: str = ""
    timers: int = 0
    timers_late_ms: float = 0.0
    actors: int = 0
    sessions: int = 0
    memory_mib: float = 0.0
    memory_percent: float = 0.0
    descriptors_percent: float = 0.0
    disk_free_mib: float = 0.0
    certificate_days: float = 0.0
    audit_findings: int = 0
    upgrades_undone: int = 0
    upgrade_name: str = ""  # the last of them
    upgrade_trouble: str = ""  # and what was worse
    probe_ms: float = 0.0
    probe_failures: int = 0
    probe_trouble: str = ""  # the step that failed, and how
    __repr__ = discreet


class Rule(NamedTuple):
    """figure: a field of Sample and of AlertSettings. below: too little of it is what is bad.
    part: of the threshold, under which the figure is good again.
    """

    figure: str
    title: str
    unit: str
    owner: Callable[[Sample], str] = lambda sample: "the server"
    below: bool = False
    grave: bool = False
    part: float = 0.5


RULES = (
    Rule("turn_queue_length", "{} messages wait for a turn", ""),
    Rule("turn_queue_age_ms", "the oldest message has waited {} for a turn", "ms"),
    Rule("mailbox_length", "{} messages wait for one actor", "", lambda s: s.mailbox_owner),
    Rule("writer_rows", "{} row operations wait for the database", "", lambda s: "the database"),
    Rule("output_bytes", "{} wait for a reader", "bytes", lambda s: s.output_owner),
    Rule(
        "window_percent", "{} of its window is unconfirmed", "%", lambda s: s.window_owner, part=0.7
    ),
    Rule("commit_ms", "a commit took {}", "ms", lambda s: "the database"),
    Rule("loop_lag_ms", "nothing was served for {}", "ms", lambda s: "the event loop"),
    Rule("retries", "{} messages wait to be taken by their peers", "", lambda s: s.retries_owner),
    Rule("inbox_messages", "{} messages wait in one inbox", "", lambda s: s.inbox_owner, part=0.9),
    Rule("timers", "{} timers are set", ""),
    Rule("timers_late_ms", "a timer is {} late", "ms"),
    Rule("memory_percent", "{} of the memory is in use", "%", grave=True, part=0.9),
    Rule("descriptors_percent", "{} of all file descriptors are in use", "%", grave=True, part=0.9),
    Rule("disk_free_mib", "{} left on the disk", "MiB", lambda s: "the disk", True, True),
    Rule("certificate_days", "{} until the certificate ends", "days", lambda s: "TLS", True, True),
    Rule("audit_findings", "{} messages that the audit cannot explain", "", grave=True),
    Rule(
        "upgrades_undone",
        "{} upgrades of the last ten minutes went back by themselves",
        "",
        lambda s: s.upgrade_name,
    ),
    Rule("probe_ms", "{} until the probe's second check mark", "ms", lambda s: "the probe"),
    Rule("probe_failures", "{} probes in a row failed", "", lambda s: "the probe", grave=True),
)
