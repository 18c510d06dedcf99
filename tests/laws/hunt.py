"""The hunt: plant a bug, play its scene, and see which check notices.

`python -m tests.laws.hunt` prints the table of docs/laws.md with what was seen.
"""

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from sim.planting import Mutant, planted
from tests.laws import at_the_edge, corners, failing, scenes
from tests.laws.mutants import CHANCE, CLIENTS, MUTANTS, RANDOM
from tests.laws.play import LawPlay
from tests.laws.witness import Broken
from tests.logic import test_resources as clients
from tests.logic import test_user_dialogues as dialogues
from tests.world import World

SEEDS_MAX = 200
BRIEF_CHARS = 60
TESTS = Path(__file__).parent.parent

SCENES: dict[str, Callable[[], None]] = {
    **scenes.SCENES,
    **failing.SCENES,
    **corners.SCENES,
    **at_the_edge.SCENES,
}


@dataclass(frozen=True)
class Catch:
    """Which check noticed, and at which attempt (1 for a dialogue)."""

    law: int  # of the checker; 0: a dialogue of tests/logic, which does not say
    checker: str
    message: str
    seeds: int = 1


def play_dialogue(name: str) -> None:
    """A dialogue of tests/logic, with local reads and with remote ones."""
    dialogue = getattr(dialogues, name, None) or getattr(clients, name)
    if "world" in inspect.signature(dialogue).parameters:
        for inline in (True, False):
            dialogue(World(inline=inline))
    else:
        dialogue()


def play(scene: str, seed: int) -> None:
    if scene == RANDOM:
        LawPlay(seed).play()
    elif scene == CLIENTS:
        clients.play_chance(seed)
    elif scene in SCENES:
        SCENES[scene]()
    else:
        play_dialogue(scene)


def hunt(mutant: Mutant) -> Catch | None:
    """The first time that a check of the expected law notices the planted bug.

    In random worlds another law's check may notice first; the next seeds are tried, so that
    what is found does not hang on one seed. None: the bug survives.
    """
    other: Catch | None = None
    with planted(mutant):
        for seed in range(SEEDS_MAX if mutant.scene in CHANCE else 1):
            try:
                play(mutant.scene, seed)
            except AssertionError as error:
                catch = _catch(error, seed + 1)
                if is_expected(mutant, catch):
                    return catch
                other = other or catch
    return other


def is_expected(mutant: Mutant, catch: Catch) -> bool:
    """A check of the right law; a dialogue of tests/logic stands for the law itself."""
    if mutant.scene in (RANDOM, *SCENES):
        return catch.law == mutant.checker_law
    return catch.law == 0


def _catch(error: AssertionError, seeds: int) -> Catch:
    """Only a failure of the tests' own checks counts, not one inside the broken code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    if not Path(frame.filename).is_relative_to(TESTS):
        raise error
    if isinstance(error, Broken):
        return Catch(error.law, error.checker, error.message, seeds)
    text = str(error) or f"assert {(frame.line or '').removeprefix('assert ')}"
    return Catch(0, frame.name, text.splitlines()[0], seeds)


def table() -> str:
    """The rows of docs/laws.md."""
    head = "| law | planted bug | what is broken | noticed by | seeds | what the check says |"
    lines = [head, "|---|---|---|---|---|---|"]
    for mutant in MUTANTS.values():
        catch = hunt(mutant)
        seen = "**nothing** | |" if catch is None else _cells(mutant, catch)
        lines.append(f"| {mutant.law} | `{mutant.name}` | {mutant.broken} | {seen} |")
    return "\n".join(lines)


def _cells(mutant: Mutant, catch: Catch) -> str:
    checker = f": {catch.checker}" if catch.law else ""
    if catch.law not in (0, mutant.law):
        checker += f" (law {catch.law})"
    seeds = str(catch.seeds) if mutant.scene in CHANCE else "-"
    return f"`{mutant.scene}`{checker} | {seeds} | {_brief(catch.message)}"


def _brief(message: str) -> str:
    text = message.replace("|", "/")
    return text if len(text) <= BRIEF_CHARS else text[: BRIEF_CHARS - 4] + " ..."


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    print(table())
