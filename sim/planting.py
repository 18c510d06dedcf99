"""Planting: one function of the production code gets a bug, for as long as a test looks.

A mutant is a small edit of a function's own source, compiled and put in the place of the
function's code. So it is broken wherever it was imported, and a bug never drifts away from
the code it was made for: if the text to replace is not there exactly once, planting fails.
"""

import __future__

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import CodeType
from typing import Any

ANNOTATIONS = __future__.annotations.compiler_flag  # as the function's own file has it


@dataclass(frozen=True)
class Edit:
    """In the source of `function` (dedented), `old` stands once and becomes `new`."""

    function: Callable[..., Any]
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A planted bug. `scene` names what catches it; `seen_by` is the law of the checker
    that is expected to notice, where that is another one than the law that was broken.
    """

    name: str
    law: int
    broken: str  # what was broken, for docs/laws.md
    scene: str
    edits: tuple[Edit, ...]
    seen_by: int = 0

    @property
    def checker_law(self) -> int:
        return self.seen_by or self.law


class OutOfDate(Exception):
    """The rule has changed: the mutant has to be made anew."""


def broken_code(function: Callable[..., Any], edits: list[Edit]) -> CodeType:
    """The code of the function after the edits."""
    source = textwrap.dedent(inspect.getsource(function))
    for edit in edits:
        if source.count(edit.old) != 1:
            raise OutOfDate(f"{function.__qualname__}: {edit.old!r} x {source.count(edit.old)}")
        source = source.replace(edit.old, edit.new)
    names = dict(function.__globals__)
    name = f"<mutant of {function.__qualname__}>"
    exec(compile(source, name, "exec", function.__code__.co_flags & ANNOTATIONS), names)
    made: Any = names[function.__name__]
    if isinstance(made, property):
        made = made.fget
    code: CodeType = made.__code__
    return code


@contextmanager
def swapped(function: Callable[..., Any], code: CodeType) -> Iterator[None]:
    sound = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = sound


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The bug is in the code inside this block, and gone after it."""
    functions = dict.fromkeys(edit.function for edit in mutant.edits)
    with ExitStack() as stack:
        for function in functions:
            edits = [edit for edit in mutant.edits if edit.function is function]
            stack.enter_context(swapped(function, broken_code(function, edits)))
        yield
