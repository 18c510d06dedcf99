"""A version beside the running one: its own modules, all or none, and gone when nobody needs it."""

import gc
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import versions
from tests.upgrade.conftest import Pack
from whimbrel.domain.limits import Limits
from whimbrel.domain.user import User
from whimbrel.edge.xmpp.features import features_for
from whimbrel.logic import desk, user
from whimbrel.node.upgrade.contract import behaviours_of, features_of
from whimbrel.node.upgrade.staged import Broken, Staged, compiled, from_bytes, to_bytes
from whimbrel.node.upgrade.tree import package_modules, read_all, sources
from whimbrel.runtime.behaviour import Behaviour, Behaviours
from whimbrel.runtime.trial import Trial

ROOT = "whimbrel_staged_900"


def staged_of(archive: Path, root: str = ROOT) -> Staged:
    files = read_all(archive)
    units = compiled(sources(files), package_modules(files), root, str(archive))
    return Staged(root, from_bytes(to_bytes(units)))


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.startswith("whimbrel_staged_")]:
        del sys.modules[name]


def ours() -> list[str]:
    return [name for name in sys.modules if name.startswith("whimbrel_staged_")]


def test_staged_code_uses_staged_code_and_the_running_types(running: Path) -> None:
    staged = staged_of(running).load_now()
    fresh = staged["whimbrel.logic.user"]
    assert fresh is not user
    assert fresh.on_submit.__module__ == f"{ROOT}.logic.submit"
    assert fresh.on_submit is staged["whimbrel.logic.submit"].on_submit
    assert fresh.User is User
    assert fresh.HANDLERS.keys() == user.HANDLERS.keys()
    assert [b.name for b in behaviours_of(staged)] == ["user", "desk"]
    mine = features_of(staged, Limits())
    assert [f.name for f in mine] == [f.name for f in features_for(Limits())]
    assert all(call.__module__.startswith(ROOT) for f in mine for call in f.iqs.values())


def test_the_running_modules_are_not_touched(running: Path) -> None:
    before = {name: module for name, module in sys.modules.items() if name.startswith("whimbrel.")}
    path = list(sys.meta_path)
    staged_of(running).load_now().drop()
    after = {name: module for name, module in sys.modules.items() if name.startswith("whimbrel.")}
    assert before == after
    assert sys.meta_path == path
    assert not ours()


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        ("syntax error", "whimbrel.logic.submit line"),
        ("an error while loading", "ZeroDivisionError"),
        ("a name that is not there", "cannot import name 'Muted' from 'whimbrel.domain.user'"),
    ],
)
def test_code_that_cannot_be_loaded_leaves_nothing_behind(
    packed: Pack, plant: str, said: str
) -> None:
    path = list(sys.meta_path)
    with pytest.raises(Broken, match=said):
        staged_of(packed(versions.BAD[plant])).load_now()
    assert not ours()
    assert sys.meta_path == path


def test_loading_that_is_given_up_halfway_leaves_nothing_behind(running: Path) -> None:
    loading = staged_of(running).load()
    for _ in range(10):
        next(loading)
    assert ours()
    loading.close()
    assert not ours()


def test_versions_that_nobody_uses_leave_memory(running: Path) -> None:
    """Six versions, each tried and dropped: not one of them is kept."""
    behaviours = Behaviours([user, desk], lambda key: 0)
    gone = []
    for number in range(6):
        staged = staged_of(running, f"whimbrel_staged_{number}").load_now()
        fresh = behaviours_of(staged)
        trial = Trial(behaviours.all, fresh, 0.5, 0, lambda: 0, lambda e: "", lambda: None)
        behaviours.try_out(trial)
        behaviours.use(fresh)
        gone.append(weakref.ref(staged["whimbrel.logic.submit"].on_submit))
        gone.append(weakref.ref(staged["whimbrel.edge.xmpp.features.disco"].on_ping))
        staged.drop()
    del fresh, trial, staged
    behaviours.use([Behaviour(user), Behaviour(desk)])
    gc.collect()
    assert [ref() for ref in gone] == [None] * 12
