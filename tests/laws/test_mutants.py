"""Each law is broken on purpose, and a check notices. And without a bug, no check does.

A bug that survives is a missing check: write the scene that shows what it breaks, then the
rule is safe from the next person who simplifies it.
"""

from collections.abc import Iterator

import pytest
import structlog

from sim.planting import Edit, Mutant, OutOfDate, planted
from tests.laws.hunt import SCENES, SEEDS_MAX, hunt, is_expected, play, play_dialogue
from tests.laws.mutants import CHANCE, MUTANTS, RANDOM
from tests.laws.play import LawPlay
from tests.logic import test_user_dialogues as dialogues
from tests.world import World
from whimbrel.domain.ids import next_id

DIALOGUES = sorted(
    {mutant.scene for mutant in MUTANTS.values()} - SCENES.keys() - set(CHANCE)  # of tests/logic
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Planted bugs make the server report crashes by the thousand."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_noticed(name: str) -> None:
    mutant = MUTANTS[name]
    catch = hunt(mutant)
    assert catch is not None, f"{name} survives: no check notices that {mutant.broken}"
    assert is_expected(mutant, catch), f"{name} was seen as something else: {catch}"
    assert catch.seeds <= SEEDS_MAX


@pytest.mark.parametrize("scene", [*SCENES, *DIALOGUES])
def test_a_scene_passes_without_a_bug(scene: str) -> None:
    play(scene, 0)


@pytest.mark.parametrize("tens", range(SEEDS_MAX // 10))
def test_random_worlds_pass_without_a_bug(tens: int) -> None:
    for seed in range(tens * 10, tens * 10 + 10):
        LawPlay(seed).play()


def test_every_law_has_planted_bugs() -> None:
    laws = {mutant.law for mutant in MUTANTS.values()}
    assert laws == set(range(1, 9))


def test_every_scene_has_a_bug_to_notice() -> None:
    """A scene that no bug fails might be one that cannot fail."""
    used = {mutant.scene for mutant in MUTANTS.values()}
    assert used >= SCENES.keys(), f"no bug for {sorted(SCENES.keys() - used)}"


def test_a_bug_is_gone_after_its_test() -> None:
    sound = next_id.__code__
    with planted(MUTANTS["ids-follow-the-clock"]):
        assert next_id(1, 5) == 1
    assert next_id.__code__ is sound
    assert next_id(1, 5) == 6


def test_a_bug_for_a_rule_that_has_changed_is_not_planted() -> None:
    mutant = Mutant("old", 3, "nothing", RANDOM, (Edit(next_id, "no such text", ""),))
    with pytest.raises(OutOfDate), planted(mutant):
        pass
    assert next_id(1, 5) == 6


def test_a_dialogue_is_played_with_both_kinds_of_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[bool] = []

    def dialogue(world: World) -> None:
        kinds.append(world.inline)

    monkeypatch.setattr(dialogues, DIALOGUES[0], dialogue)
    play_dialogue(DIALOGUES[0])
    assert kinds == [True, False]
