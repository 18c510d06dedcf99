"""The machine: its clock, and what it allows this program."""

import ctypes
import resource
import time
from pathlib import Path

from whimbrel.node.doctor.finding import Finding, Patient, bad, good, unknown, warning
from whimbrel.node.monitor import memory_allowed_mib

TIMEX_BYTES = 256  # more than struct timex has
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
WATCH_S = 0.5
STEP_MS = 50.0
SPARE_FILES = 512  # beside connections: the database, logs, uploads
CONNECTION_KIB = 21  # docs/benchmarks.md
ACTOR_KIB = 3.7  # just woken
BASE_MIB = 60
BACKLOG = 1_024


def check(patient: Patient) -> list[Finding]:
    return [_synchronised(), _steady(), *_files(patient), _memory(patient), _backlog()]


def _synchronised() -> Finding:
    try:
        told = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        told = -1
    if told < 0:
        return unknown("clock", "whether it is synchronised cannot be seen on this system")
    if told == TIME_ERROR:
        text = "not synchronised (NTP): times of messages may be wrong, certificates refused"
        return warning("clock", text, "start chrony or systemd-timesyncd")
    return good("clock", "synchronised")


def _steady() -> Finding:
    """Does the wall clock walk as fast as the monotonic one?"""
    wall, steady = time.time(), time.monotonic()
    time.sleep(WATCH_S)
    off_ms = abs((time.time() - wall) - (time.monotonic() - steady)) * 1e3
    if off_ms > STEP_MS:
        text = f"it moved by {off_ms:,.0f} ms within {WATCH_S} s"
        return warning("clock's pace", text, "something sets the clock in steps; let NTP slew it")
    return good("clock's pace", f"even ({off_ms:.1f} ms off in {WATCH_S} s)")


def _files(patient: Patient) -> list[Finding]:
    allowed = _files_allowed(patient.pid)
    needed = patient.config.limits.connections_max + SPARE_FILES
    text = f"{allowed:,} open files allowed; {needed:,} for limits.connections_max"
    if allowed >= needed:
        return [good("open files", text)]
    advice = f"LimitNOFILE={needed} in the unit (deploy/whimbrel.service), or `ulimit -n {needed}`"
    if allowed < 1_024:
        return [bad("open files", text, advice)]
    return [warning("open files", text, advice)]


def _files_allowed(pid: int) -> int:
    """The soft limit of the server that runs, else of this process."""
    try:
        for line in Path(f"/proc/{pid or 'self'}/limits").read_text("ascii").splitlines():
            if line.startswith("Max open files"):
                word = line.split()[3]
                return int(word) if word.isdigit() else 1 << 40
    except OSError:
        pass
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _memory(patient: Patient) -> Finding:
    limits = patient.config.limits
    kib = limits.connections_max * CONNECTION_KIB + limits.actors_max * ACTOR_KIB
    needed, here = kib / 1024 + BASE_MIB, memory_allowed_mib()
    text = f"{here:,.0f} MiB; up to {needed:,.0f} MiB with all connections and actors of `limits`"
    if here < needed:
        advice = "lower limits.connections_max and limits.actors_max, or give it more"
        return warning("memory", text, advice)
    return good("memory", text)


def _backlog() -> Finding:
    try:
        most = int(Path("/proc/sys/net/core/somaxconn").read_text("ascii"))
    except (OSError, ValueError):
        return unknown("accept queue", "net.core.somaxconn cannot be read")
    text = f"net.core.somaxconn is {most}"
    if most < BACKLOG:
        return warning("accept queue", text, f"sysctl -w net.core.somaxconn={BACKLOG}")
    return good("accept queue", text)
