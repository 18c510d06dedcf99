"""The checks of a version, each against a version that was broken for it.

The quick steps run in this process; the self-test and the worlds in theirs, as on a server.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import versions
from tests.upgrade.conftest import Pack
from whimbrel.node.upgrade.check import ALL, FAST, run
from whimbrel.node.upgrade.checker import Checker
from whimbrel.node.upgrade.order import Order, Step

ROOT = "whimbrel_staged_901"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.startswith("whimbrel_staged_")]:
        del sys.modules[name]


def quick(running: Path, candidate: Path, tmp_path: Path) -> list[Step]:
    order = Order(
        str(running), str(candidate), "", ROOT, str(tmp_path / "code"), str(tmp_path), 0, 60, True
    )
    return [step for step in run(order) if step.result != "running"]


def checked(
    running: Path, candidate: Path, worlds: int = 3, seconds: float = 120.0
) -> tuple[str, list[Step]]:
    steps: list[Step] = []
    checker = Checker(lambda step: steps.append(step) if step.result != "running" else None)
    refusal, code = checker.run(running, candidate, None, ROOT, worlds, seconds, False)
    assert bool(code) != bool(refusal)
    return refusal, steps


@pytest.mark.parametrize(
    ("plant", "step", "said"),
    [
        ("syntax error", "source", "whimbrel.logic.submit line"),
        ("imports time", "imports", "may not import time (rules know no clock"),
        ("reads a file", "imports", "may not call open()"),
        ("a type among the rules", "imports", "rules define no types (Muted)"),
        ("a name that is not there", "load", "cannot import name 'Muted'"),
        ("an error while loading", "load", "whimbrel.logic.submit line"),
        ("forgets a handler", "contract", "whimbrel.logic.user: PushRefused is not answered"),
        ("forgets an iq", "contract", "XMPP: urn:xmpp:ping ping account is not answered"),
        ("changes a domain type", "types", "this needs `whimbrel restart`: "),
    ],
)
def test_the_quick_steps_refuse(
    running: Path, packed: Pack, tmp_path: Path, plant: str, step: str, said: str
) -> None:
    steps = quick(running, packed(versions.BAD[plant]), tmp_path)
    assert [each.result for each in steps[:-1]] == ["ok"] * (len(steps) - 1)
    assert (steps[-1].name, steps[-1].result) == (step, "refused")
    assert said in steps[-1].text


def test_a_changed_domain_type_is_named(running: Path, packed: Pack, tmp_path: Path) -> None:
    steps = quick(running, packed(versions.BAD["changes a domain type"]), tmp_path)
    assert "whimbrel.domain.user.Pair: attribute muted is new" in steps[-1].text


def test_a_good_version_passes_the_quick_steps(running: Path, packed: Pack, tmp_path: Path) -> None:
    steps = quick(running, packed(versions.GOOD), tmp_path)
    assert [(step.name, step.result) for step in steps] == [(name, "ok") for name in FAST]


def test_good_versions_pass_everything(running: Path, packed: Pack) -> None:
    """Also one that changes the shape of the state and knows the way there and back."""
    refusal, steps = checked(running, packed([*versions.GOOD, *versions.COUNTS]))
    assert refusal == ""
    assert [(step.name, step.result) for step in steps] == [(name, "ok") for name in ALL]
    assert "3 worlds" in steps[-1].text


@pytest.mark.parametrize(
    ("plant", "step", "said"),
    [
        ("a new version without migrate", "self-test", "new rules: User: ValueError"),
        ("a migrate that leaves half", "self-test", "AttributeError"),
        ("raises on one message in fifty", "self-test", "new rules: Submit: KeyError in submit.py"),
        ("breaks the shape of the state", "worlds", "contacts_used is float"),
    ],
)
def test_the_self_test_and_the_worlds_refuse(
    running: Path, packed: Pack, plant: str, step: str, said: str
) -> None:
    refusal, steps = checked(running, packed(versions.BAD[plant]))
    assert steps[-1].name == step
    assert said in refusal


def test_the_worlds_alone_notice_what_nobody_is_told(running: Path, packed: Pack) -> None:
    """A law of the simulator: what waits for ever is found without asking for it."""
    late = "if entry.retry_us <= turn.mono_us:\n            _deliver("
    quiet = (versions.Edit("logic/submit.py", late, late.replace("<= turn.mono_us", "== 1")),)
    refusal, steps = checked(running, packed(quiet), worlds=24)
    assert steps[-1].name == "worlds"
    assert "a world of the simulator" in refusal


def test_code_that_hangs_is_ended_by_the_time_limit(running: Path, packed: Pack) -> None:
    hangs = (versions.Edit("logic/submit.py", "", "\nwhile True:\n    pass\n"),)
    refusal, _ = checked(running, packed(hangs), seconds=6.0)
    assert "not done within 6 s" in refusal


def test_a_check_that_is_given_up_ends_at_once(running: Path, packed: Pack) -> None:
    checker = Checker(lambda step: checker.stop())
    refusal, code = checker.run(running, packed(()), None, ROOT, 1_000, 600.0, False)
    assert (refusal, code) == ("given up", b"")
