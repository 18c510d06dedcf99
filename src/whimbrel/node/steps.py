"""The steps of a restart, in both processes: each passes here, for the log, and for tests that end
one of the two just there (tests/node/ending.py).
"""

import structlog

log = structlog.get_logger("whimbrel.node")

# Of the old process, and of the next one between them, in the order in which they are passed.
OLD = ("started", "prepared", "let go", "handed over", "serving")
NEXT = ("adopted", "ready to take over", "taking over", "serves")


def reached(step: str) -> None:
    log.debug("restart", step=step)
