"""Coverage-guided fuzzing: inputs that reach new arcs are kept, and changed again.

The engine under tests/fuzz/targets.py; one file, no packages. `sys.settrace` tells which line
followed which one; parsers written in C show no lines, so the outcome of a run (the name of the
message, the text of the refusal without its values) counts as reached, too. Law: the same seed
and the same number of executions give the same inputs, arcs and findings.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from types import CodeType, FrameType
from typing import Any

BYTES_MAX = 6_000  # of an input; longer ones are cut
CORPUS_MAX = 2_000
FINDINGS_MAX = 20
EDGES = (0, 1, 0x1F, 0x7F, 0x80, 0x8F, 0x91, 0xA0, 0xC0, 0xC1, 0xD9, 0xDC, 0xE0, 0xFE, 0xFF)


@dataclass(frozen=True)
class Target:
    """`run` takes any bytes and returns what came out; whatever it raises is a finding."""

    name: str
    law: str
    run: Callable[[bytes], str]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    traced: tuple[str, ...] = ("whimbrel",)  # packages whose lines count


@dataclass
class Report:
    target: str
    executions: int = 0
    seconds: float = 0.0
    lines_of_seeds: int = 0
    outcomes_of_seeds: int = 0
    arcs: set[tuple[object, object]] = field(default_factory=set)
    corpus: list[bytes] = field(default_factory=list)
    findings: dict[str, bytes] = field(default_factory=dict)  # where it broke -> an input

    @property
    def lines(self) -> int:
        """Arcs between lines; the others are outcomes of parsers written in C."""
        return sum(1 for first, _ in self.arcs if first not in ("outcome", "raised"))

    @property
    def outcomes(self) -> int:
        return len(self.arcs) - self.lines


# ---- what a run reaches -----------------------------------------------------------------


class Arcs:
    """Pairs of lines that followed each other in the traced packages."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self.seen: set[tuple[object, object]] = set()
        self._packages = packages
        self._wanted: dict[CodeType, bool] = {}
        self._last: tuple[str, int] = ("", 0)

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._last = ("", 0)
        before = sys.gettrace()
        sys.settrace(self._on_call)
        try:
            yield
        finally:
            sys.settrace(before)

    def _on_call(self, frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        wanted = self._wanted.get(code)
        if wanted is None:
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            wanted = self._wanted[code] = package in self._packages
        return self._on_line if wanted else None

    def _on_line(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            here = (frame.f_code.co_qualname, frame.f_lineno)
            self.seen.add((self._last, here))
            self._last = here
        return self._on_line


# ---- how inputs are changed -------------------------------------------------------------


class Mutator:
    def __init__(self, random: Random, words: tuple[bytes, ...]) -> None:
        self._random = random
        self._words = words
        self._ways: list[Callable[[bytearray], None]] = [
            self._flip,
            self._set,
            self._insert,
            self._delete,
            self._repeat,
            self._count,
        ]
        if words:
            self._ways += [self._say, self._say, self._overwrite]

    def change(self, data: bytes, other: bytes) -> bytes:
        """`data` with one to eight changes; sometimes its end is the end of `other`."""
        random, made = self._random, bytearray(data)
        if random.random() < 0.1:
            made[self._at(made) :] = other[self._at(bytearray(other)) :]
        for _ in range(random.choice((1, 1, 1, 2, 2, 4, 8))):  # mostly little, so that much stays
            random.choice(self._ways)(made)
        return bytes(made[:BYTES_MAX])

    def _at(self, made: bytearray) -> int:
        return self._random.randint(0, len(made))

    def _flip(self, made: bytearray) -> None:
        if made:
            made[self._random.randrange(len(made))] ^= 1 << self._random.randrange(8)

    def _set(self, made: bytearray) -> None:
        if made:
            any_byte = self._random.randrange(256)
            value = self._random.choice((any_byte, self._random.choice(EDGES)))
            made[self._random.randrange(len(made))] = value

    def _insert(self, made: bytearray) -> None:
        at = self._at(made)
        made[at:at] = self._random.randbytes(self._random.randint(1, 8))

    def _delete(self, made: bytearray) -> None:
        at = self._at(made)
        del made[at : at + self._random.randint(1, 16)]

    def _repeat(self, made: bytearray) -> None:
        """A part of it many times over: this is how nesting and length come about."""
        at = self._at(made)
        part = made[at : at + self._random.randint(1, 12)]
        made[at:at] = part * self._random.choice((1, 2, 15, 17, 33, 300))

    def _count(self, made: bytearray) -> None:
        """A big-endian number, a little more or less, or at its limits."""
        size = self._random.choice((1, 2, 4, 8))
        if len(made) >= size:
            at = self._random.randint(0, len(made) - size)
            number = int.from_bytes(made[at : at + size], "big")
            number = self._random.choice((number + 1, number - 1, number * 2, 0, -1, 1 << 53))
            made[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "big")

    def _say(self, made: bytearray) -> None:
        at = self._at(made)
        made[at:at] = self._random.choice(self._words)

    def _overwrite(self, made: bytearray) -> None:
        word, at = self._random.choice(self._words), self._at(made)
        made[at : at + len(word)] = word


# ---- the loop ---------------------------------------------------------------------------


def fuzz(target: Target, seed: int, *, executions: int = 0, seconds: float = 0.0) -> Report:
    """So many executions, or for so long. Findings do not end it: each place counts once."""
    random = Random(f"{target.name} {seed}")
    mutator, arcs = Mutator(random, target.words), Arcs(target.traced)
    report = Report(target.name, arcs=arcs.seen)
    start_s = time.monotonic()
    for data in target.seeds:
        _run(target, data, arcs, report)
        report.corpus.append(data)
    report.lines_of_seeds, report.outcomes_of_seeds = report.lines, report.outcomes
    for _ in _rounds(executions, seconds):
        parent = _pick(random, report.corpus)
        data = mutator.change(parent, random.choice(report.corpus))
        before = len(arcs.seen)
        _run(target, data, arcs, report)
        if len(arcs.seen) > before and len(report.corpus) < CORPUS_MAX:
            report.corpus.append(data)
    report.seconds = time.monotonic() - start_s
    return report


def _rounds(executions: int, seconds: float) -> Iterator[int]:
    if executions:
        yield from range(executions)
        return
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        yield from islice(range(200), 200)


def _pick(random: Random, corpus: list[bytes]) -> bytes:
    """The newest are changed more often: they have just reached something."""
    if random.random() < 0.5:
        return random.choice(corpus[-10:])
    return random.choice(corpus)


def _run(target: Target, data: bytes, arcs: Arcs, report: Report) -> None:
    report.executions += 1
    try:
        with arcs.watching():
            outcome = target.run(data)
    except Exception as error:
        place = where(error)
        if len(report.findings) < FINDINGS_MAX:
            report.findings.setdefault(place, data)
        arcs.seen.add(("raised", place))
    else:
        arcs.seen.add(("outcome", outcome))


def where(error: BaseException) -> str:
    """The kind of an exception and the line of ours that it came through last."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_qualname}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__} at {place}"
