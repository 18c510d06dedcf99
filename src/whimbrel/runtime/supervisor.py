"""Supervision: an actor that raises is dropped and loaded again; one that raises too often
is paused; a message that kills its actor twice is set aside. Law 7: let it crash.
"""

from collections import deque


class CrashLog:
    """The recent crashes of one actor, and the message that is under suspicion."""

    __slots__ = ("suspect", "suspect_crashes", "times")

    def __init__(self) -> None:
        self.times: deque[int] = deque()
        self.suspect: object = None
        self.suspect_crashes = 0

    def note(self, message: object, now_us: int) -> None:
        self.times.append(now_us)
        if self.suspect is message:
            self.suspect_crashes += 1
        else:
            self.suspect, self.suspect_crashes = message, 1

    def served(self, message: object) -> None:
        """It came to an end, well or set aside: it is suspected no more, and not kept."""
        if self.suspect is message:
            self.suspect, self.suspect_crashes = None, 0

    def too_many(self, now_us: int, intensity: int, window_us: int) -> bool:
        times = self.times
        while times and times[0] < now_us - window_us:
            times.popleft()
        return len(times) > intensity
