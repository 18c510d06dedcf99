"""A cell: the runtime's side of one actor. The state inside is the messenger's business."""

from collections import deque
from typing import Any

from whimbrel.runtime.supervisor import CrashLog

NEVER = 1 << 62

READY = 0  # the state is in memory
ASLEEP = 1  # the state has to be loaded
LOADING = 2  # a read is under way; messages are parked
WAITING = 3  # a batch that holds its rows must be committed before anything is read
PAUSED = 4  # it crashed too often
GONE = 5  # another node owns it now; messages to it are dropped, their senders repeat them


class Cell:
    __slots__ = (
        "alarm_us",
        "batch",
        "behaviour",
        "crashes",
        "key",
        "kind",
        "needs",
        "needy",
        "parked",
        "queued",
        "runs",
        "state",
        "status",
        "tenure",
        "used_us",
    )

    def __init__(self, key: int, kind: int) -> None:
        self.key = key
        self.kind = kind
        self.state: Any = None
        self.behaviour: Any = None  # the Behaviour that made the state or was last to run
        self.status = ASLEEP
        self.queued = 0  # messages in the engine's queue or parked here: the mailbox
        self.parked: deque[Any] | None = None
        self.tenure = 0  # under which ownership its state was loaded
        self.batch = -1  # the last batch that this actor ran in
        self.alarm_us = NEVER  # the earliest timer that is set
        self.used_us = 0
        self.runs = 0  # messages served since the monitor looked
        self.crashes: CrashLog | None = None
        self.needy: Any = None  # the message whose rule asked for facts last,
        self.needs = 0  # and how often in a row
