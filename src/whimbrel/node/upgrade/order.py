"""What the server and its checking process say to each other, as JSON."""

import msgspec

from whimbrel.domain.discreet import discreet


class Order(msgspec.Struct, frozen=True):
    """running, candidate: archives; base: the version that is in use, "" if it is the
    installed one; code: where the compiled modules go.
    """

    running: str
    candidate: str
    base: str
    root: str
    code: str
    work: str
    worlds: int
    seconds: float
    fast: bool


class Step(msgspec.Struct, frozen=True):
    """result: "running", "ok" or "refused"."""

    name: str
    result: str
    text: str = ""
    seconds: float = 0.0
    notes: list[str] = []
    __repr__ = discreet
