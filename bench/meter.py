"""The meter: who used how much processor time between two moments, read from /proc.

Wall-clock figures of a shared machine are noisy; processor time is not. So each figure comes
with the shares of the server's event loop, its other threads (commits), the generator and
everything else on the machine: together they say what bounds it.
"""

import os
import time
from pathlib import Path
from typing import NamedTuple

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SATURATED = 0.9  # of a core, or of all


class Usage(NamedTuple):
    """Seconds of processor time over `wall_s` seconds."""

    wall_s: float
    loop_s: float  # the server's main thread: the event loop
    loop_kernel_s: float  # ... of which inside the kernel (sockets, files)
    threads_s: float  # the server's other threads: commits
    generator_s: float
    others_s: float  # every other process of the machine

    @property
    def server_s(self) -> float:
        return self.loop_s + self.threads_s

    def per(self, count: int) -> float:
        """Microseconds of server CPU for each of `count` pieces of work."""
        return self.server_s / count * 1e6 if count else float("nan")

    def bound(self) -> str:
        """What there was no more of."""
        cores = os.cpu_count() or 1
        wall = self.wall_s
        busy = (self.server_s + self.generator_s + self.others_s) / wall / cores
        if self.loop_s / wall > SATURATED:
            what = "event loop (one core full)"
        elif busy > SATURATED:
            what = f"all {cores} cores full"
        elif busy > 0.6:
            what = "waiting (commits, generator)"
        else:
            what = "offered load"
        return (
            f"{what}: loop {self.loop_s / wall:.0%} (kernel {self.loop_kernel_s / wall:.0%}),"
            f" commits {self.threads_s / wall:.0%}, generator {self.generator_s / wall:.0%},"
            f" others {self.others_s / wall:.0%}"
        )


class Meter:
    """Reads at creation; `read()` gives what was used since."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = self._now()

    def read(self) -> Usage:
        before, now = self._before, self._now()
        wall, loop, kernel, process, generator, machine = (
            b - a for a, b in zip(before, now, strict=True)
        )
        others = max(0.0, machine - process - generator)
        return Usage(wall, loop, kernel, max(0.0, process - loop), generator, others)

    def _now(self) -> tuple[float, ...]:
        user, kernel = times(Path(f"/proc/{self._pid}/task/{self._pid}/stat"))
        process = sum(times(Path(f"/proc/{self._pid}/stat")))
        return (
            time.perf_counter(),
            user + kernel,
            kernel,
            process,
            time.process_time(),
            machine_s(),
        )


def times(stat: Path) -> tuple[float, float]:
    """User and system time in seconds: fields 14 and 15 of proc(5)."""
    fields = stat.read_text().rpartition(")")[2].split()
    return int(fields[11]) * TICK_S, int(fields[12]) * TICK_S


def machine_s() -> float:
    """Busy time of all processors, including what the host took from them (steal)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) * TICK_S
