"""The watchdog: while the loop is held up it looks where, from a thread of its own.

Told by the monitor ten times a second that the loop lives; when that stays out it reads the place
of the main thread's innermost lines (file, line, function: never a value) and whose actor runs.
Costs a wake-up every EVERY_S. What holds the interpreter's lock all the time (one long call into
C) is seen only at its end: then there is no place, and the alert says so.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType

EVERY_S = 0.1
LATE_S = 0.25
PLACES_MAX = 100
OURS = "whimbrel/"
IDLE = ("uvloop/", "asyncio/runners.py", "asyncio/base_events.py", "selectors.py")


class Watchdog:
    """start() on the watched thread. take(): where it stood, mostly, since the last call."""

    def __init__(self, running: Callable[[], str] = lambda: "") -> None:
        self._running = running
        self._main = threading.get_ident()
        self._beat_s = time.monotonic()
        self._places: Counter[str] = Counter()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._beat_s = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def beat(self) -> None:
        self._beat_s = time.monotonic()

    def take(self) -> str:
        """ "FILE:LINE FUNCTION", with whose actor ran; "" if nothing was seen."""
        places, self._places = self._places, Counter()
        return places.most_common(1)[0][0] if places else ""

    def _run(self) -> None:
        while not self._end.wait(EVERY_S):
            if time.monotonic() - self._beat_s > LATE_S:
                self.look()

    def look(self) -> None:
        """One sample of where the watched thread is."""
        frame = sys._current_frames().get(self._main)
        place = place_of(frame)
        if not place:
            return
        whose = self._running()
        found = f"{place}{f', in the actor of {whose}' if whose else ''}"
        if found in self._places or len(self._places) < PLACES_MAX:
            self._places[found] += 1


def place_of(frame: FrameType | None) -> str:
    """The innermost line, and the innermost one of ours if that is another; "" for an idle loop."""
    if frame is None or any(part in frame.f_code.co_filename for part in IDLE):
        return ""
    first, inner = _line(frame), frame
    while inner is not None and OURS not in inner.f_code.co_filename:
        inner = inner.f_back  # type: ignore[assignment]
    if inner is None or inner is frame:
        return first
    return f"{first}, called from {_line(inner)}"


def _line(frame: FrameType) -> str:
    file = frame.f_code.co_filename
    at = file.rfind(OURS)
    short = file[at:] if at >= 0 else "/".join(file.split("/")[-2:])
    return f"{short}:{frame.f_lineno} {frame.f_code.co_name}"
