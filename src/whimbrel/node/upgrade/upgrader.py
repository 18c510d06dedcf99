"""The upgrader: one version after the other, from an archive to all actors, and back.

pack -> check (another process) -> load under its own name -> canary -> all, watched -> accepted.
Every arrow may end in "back"; what was decided is on disk before it is told. The heavy steps
run in a thread that waits for a process; on the loop there are only short pieces, measured.

This file is over 300 lines because the way of a version is one state machine and reads best in
one place. Neighbours: runtime/trial.py and edge/xmpp/trial.py run two versions at once,
judge.py compares them, history.py remembers.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import structlog
from msgspec.structs import replace

import whimbrel
from whimbrel.domain.limits import Limits
from whimbrel.edge.http.problems import NothingToRollBack, UpgradeRunning
from whimbrel.edge.http.shapes import Upgrade, UpgradeHistory, UpgradeState, UpgradeStep
from whimbrel.edge.xmpp.hub import Hub
from whimbrel.edge.xmpp.tables import Tables
from whimbrel.edge.xmpp.trial import FeatureTrial
from whimbrel.node.upgrade.checker import Checker
from whimbrel.node.upgrade.contract import behaviours_of, features_of
from whimbrel.node.upgrade.history import History
from whimbrel.node.upgrade.judge import Judgement, compared, judge
from whimbrel.node.upgrade.order import Step
from whimbrel.node.upgrade.performable import wrong
from whimbrel.node.upgrade.settings import UpgradeSettings
from whimbrel.node.upgrade.staged import (
    PREFIX,
    Broken,
    Staged,
    compiled,
    from_bytes,
)
from whimbrel.node.upgrade.tree import (
    NotAVersion,
    Packed,
    described,
    pack,
    pack_installed,
    package_modules,
    read_all,
    sources,
)
from whimbrel.node.upgrade.undone import RecentlyUndone
from whimbrel.runtime.behaviour import Behaviour, Behaviours
from whimbrel.runtime.trial import Tally, Trial

log = structlog.get_logger("whimbrel.upgrade")

JUDGE_EVERY_S = 0.25
SOUND_S = 60  # a start that lived so long did not end early
IN_MEMORY = 2  # accepted versions that stay loaded: this one, and the one to go back to
FOLDER = "upgrades"
_LOADINGS = count(1)
RUNNING = "running-"  # and the process: during a restart there are two


class Version:
    """One that can be put in place. number 0: the installed one. Not loaded: staged is None."""

    def __init__(self, number: int, packed: Packed) -> None:
        self.number = number
        self.packed = packed
        self.staged: Staged | None = None
        self.behaviours: list[Behaviour] = []
        self.features: Sequence[Any] = ()
        self.tables: Tables | None = None

    @property
    def is_loaded(self) -> bool:
        return bool(self.behaviours)

    def unload(self) -> None:
        if self.staged is not None:
            self.staged.drop()
            self.staged = None
            self.behaviours, self.features, self.tables = [], (), None


class GivenUp(Exception):
    """This version is not taken. result: as in the history; the text is for the operator."""

    def __init__(self, result: str, text: str) -> None:
        super().__init__(text)
        self.result = result


class Upgrader:
    """Law: at every moment every message has a version that answers it, and connections stay."""

    def __init__(
        self,
        folder: Path,
        settings: UpgradeSettings,
        behaviours: Behaviours,
        hub: Hub,
        limits: Limits,
        wall_s: Callable[[], float] = time.time,
        cpu_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self.history = History(folder / FOLDER)
        self.undone = RecentlyUndone(wall_s)
        self.settings = settings
        self._behaviours = behaviours
        self._hub = hub
        self._limits = limits
        self._wall_s = wall_s
        self._cpu_ns = cpu_ns
        self._running = folder / FOLDER / f"{RUNNING}{os.getpid()}.zip"
        self._stack: list[Version] = []
        self._now: Upgrade | None = None  # the last one begun, under way or ended
        self._task: asyncio.Task[None] | None = None
        self._packing: asyncio.Task[Packed] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._checker: Checker | None = None
        self._trial: Trial | None = None
        self._feature_trial: FeatureTrial | None = None
        self._tallies: tuple[dict[object, Tally], dict[object, Tally]] = ({}, {})
        self._watched: Version | None = None  # everybody has it, and it is not accepted yet
        self._back: str = ""  # why to go back, said by an operator
        self._news = asyncio.Event()
        self._seconds = 0
        self._longest_s = self._longest_cpu_s = 0.0  # of the pieces that ran on the loop

    # ---- life ----------------------------------------------------------------------------

    async def start(self, reload: bool) -> None:
        """Before anybody listens: load again what was accepted before a restart."""
        installed = Version(0, Packed("", whimbrel.__version__, "", ""))
        installed.behaviours = self._behaviours.all
        installed.features = self._hub.tables.features
        installed.tables = self._hub.tables
        self._stack = [installed]
        for left in self.history.folder.glob(f"{RUNNING}*.zip"):
            if not _lives(left.stem.removeprefix(RUNNING)):
                left.unlink(missing_ok=True)
        self._packing = asyncio.get_running_loop().create_task(self._pack_installed(installed))
        if self.history.in_use.stack:
            await self._packing
            self._load_again(installed, reload)

    async def _pack_installed(self, installed: Version) -> Packed:
        """As it is now: what stands on the disk later may be something else."""
        package = Path(whimbrel.__file__).parent
        installed.packed = await asyncio.to_thread(pack_installed, package, self._running)
        return installed.packed

    def _load_again(self, installed: Version, reload: bool) -> None:
        in_use = self.history.in_use
        names = ", ".join(map(str, in_use.stack))
        if not reload or not self.settings.reload_at_start:
            log.warning("accepted upgrades are not loaded, as was asked for", numbers=names)
            return
        if in_use.installed != installed.packed.whole:
            self._end_all("another version of Whimbrel was installed: its rules are in use")
            return
        if in_use.starts >= self.settings.starts_max:
            self._end_all(f"{in_use.starts} starts in a row ended early: the installed rules run")
            return
        in_use.starts += 1
        self.history.save()
        try:
            for number in in_use.stack:
                self._stack.append(Version(number, described(self.history.archive(number))))
            top = self._stack[-1]
            self._load(top)
            self._put_in_place(top)
            self._warm_up()
        except (Broken, NotAVersion, OSError, KeyError) as error:
            self._stack = self._stack[:1]
            self._end_all(f"it could not be loaded again ({error})")

    def _end_all(self, why: str) -> None:
        number = self.history.in_use.stack[-1]
        now = self._wall_s()
        log.error("an accepted upgrade is left out", number=number, reason=why)
        self.history.in_use.stack = []
        self.history.in_use.starts = 0
        self.history.save()
        self.history.add(Upgrade(number, "", "", "the server", "ended", "left out", why, now, now))

    def every_second(self) -> None:
        self._seconds += 1
        if self._seconds == SOUND_S and self.history.in_use.starts:
            self._sound()

    def _sound(self) -> None:
        self.history.in_use.starts = 0
        self.history.save()

    async def stop(self) -> None:
        """A version that was not accepted is not there after a restart."""
        if self._checker is not None:
            self._checker.stop()
        for task in (self._task, self._packing, self._warming):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._now is not None and not self._now.ended_s:
            self._end("given up", "the server stopped")
        if self.history.in_use.starts:
            self._sound()
        self._running.unlink(missing_ok=True)

    # ---- what operators ask --------------------------------------------------------------

    @property
    def under_way(self) -> bool:
        return self._task is not None and not self._task.done()

    def state(self) -> UpgradeState:
        top = self._stack[-1]
        before = self._stack[-2].packed.name if len(self._stack) > 1 else ""
        return UpgradeState(
            top.number, top.packed.name, self._stack[0].packed.name, before, self._shown()
        )

    def all(self) -> UpgradeHistory:
        return UpgradeHistory(list(reversed(self.history.entries)))

    def begin(self, place: str, who: str, fast: bool) -> UpgradeState:
        """Raises UpgradeRunning. fast: only the quick checks, no canary, for developers."""
        if self.under_way:
            if not (fast and self._now is not None and self._now.phase == "watch"):
                raise UpgradeRunning
            self._back = ""
            self._settle_now()
        number = self.history.in_use.last = self.history.in_use.last + 1
        self.history.save()
        self._now = Upgrade(number, "", place, who, "pack", "", "", self._wall_s(), fast=fast)
        self._longest_s = self._longest_cpu_s = 0.0
        self._back = ""
        log.info("upgrade begins", number=number, place=place, who=who)
        self._task = asyncio.get_running_loop().create_task(self._upgrade(number, place, fast))
        return self.state()

    def roll_back(self, who: str) -> UpgradeState:
        """Whatever is under way ends; else the accepted version before this one comes back."""
        if self.under_way:
            self._back = f"asked for by {who}" if who else "asked for"
            if self._checker is not None:
                self._checker.stop()
            self._news.set()
            return self.state()
        if len(self._stack) < 2:
            raise NothingToRollBack
        top, before = self._stack[-1], self._stack[-2]
        try:
            if not before.is_loaded:
                self._load(before)
            self._put_in_place(before)
        except (Broken, OSError) as error:
            raise NothingToRollBack(str(error)) from None
        self._stack.pop()
        self._remember()
        now = self._wall_s()
        text = f"back to {before.packed.name}"
        self._now = Upgrade(
            top.number, top.packed.name, "", who, "ended", "rolled back", text, now, now
        )
        self.history.add(self._now)
        log.warning("upgrade rolled back", number=top.number, who=who, to=before.packed.name)
        top.unload()
        self._warm_up()
        return self.state()

    def _warm_up(self) -> None:
        """What the next rollback brings back is loaded before somebody asks for it."""
        before = self._stack[-2] if len(self._stack) > 1 else None
        if before is not None and not before.is_loaded:
            self._warming = asyncio.get_running_loop().create_task(self._warm(before))

    async def _warm(self, version: Version) -> None:
        try:
            staged = await asyncio.to_thread(_staged, version)
            fresh = Version(version.number, version.packed)
            await self._load_gently(fresh, staged)
        except (GivenUp, Broken, NotAVersion, OSError) as error:
            log.error("an older version cannot be loaded", number=version.number, reason=str(error))
            return
        if version in self._stack and not version.is_loaded:
            version.staged, version.behaviours = fresh.staged, fresh.behaviours
            version.features = fresh.features
        else:  # somebody could not wait
            fresh.unload()

    # ---- the way of a version ------------------------------------------------------------

    async def _upgrade(self, number: int, place: str, fast: bool) -> None:
        archive = self.history.archive(number)
        version: Version | None = None
        try:
            version = await self._prepare(number, place, archive, fast)
            await self._try(version, fast)
            self._accept(version)
        except asyncio.CancelledError:
            if version is None or version not in self._stack:
                self._undo(version)
            raise
        except GivenUp as error:
            self._undo(version, is_bad=not self._back)
            if error.result == "rolled back" and not self._back:
                self.undone.add(self._now.version if self._now else "", str(error))
            self._end(error.result, str(error))
        except Exception as error:  # our bug: the old version goes on, and the log has the stack
            self._undo(version)
            log.exception("the upgrade itself failed", number=number)
            self._end("refused", f"the upgrade itself failed: {type(error).__name__}")
        finally:
            if number not in self.history.in_use.stack:
                archive.unlink(missing_ok=True)

    async def _prepare(self, number: int, place: str, archive: Path, fast: bool) -> Version:
        """Packed, checked and loaded; nobody uses it yet."""
        try:
            packed = await asyncio.to_thread(pack, Path(place), archive)
        except NotAVersion as error:
            raise GivenUp("refused", str(error)) from None
        top = self._stack[-1]
        self._set(version=packed.name, phase="check")
        if self._back:
            raise GivenUp("rolled back", self._back)
        if self._packing is not None:
            await self._packing
        refusal, code = await self._checked(number, archive, top, fast)
        if self._back:
            raise GivenUp("rolled back", self._back)
        if refusal:
            raise GivenUp("refused", refusal)
        self._set(phase="load")
        version = Version(number, packed)
        staged = Staged(f"{PREFIX}{number}", await asyncio.to_thread(from_bytes, code))
        await self._load_gently(version, staged)
        return version

    async def _load_gently(self, version: Version, staged: Staged) -> None:
        """One module in each round of the loop."""
        loading = staged.load()
        try:
            while True:
                with self._on_loop():
                    if next(loading, None) is None:
                        break
                await asyncio.sleep(0)
        except Broken as error:
            raise GivenUp("refused", f"load: {error}") from None
        finally:
            loading.close()
        with self._on_loop():
            self._take_in(version, staged)

    async def _checked(
        self, number: int, archive: Path, top: Version, fast: bool
    ) -> tuple[str, bytes]:
        loop = asyncio.get_running_loop()
        checker = self._checker = Checker(
            lambda step: _ignore(loop.call_soon_threadsafe(self._stepped, step))
        )
        base = Path(top.packed.path) if top.number else None
        settings = self.settings
        try:
            return await asyncio.to_thread(
                checker.run,
                self._running,
                archive,
                base,
                f"{PREFIX}{number}",
                settings.worlds,
                settings.check_s_max,
                fast,
            )
        finally:
            self._checker = None

    def _stepped(self, step: Step) -> None:
        if self._now is None:
            return
        steps = [each for each in self._now.steps if each.name != step.name]
        steps.append(UpgradeStep(step.name, step.result, step.text, step.seconds, step.notes))
        self._set(steps=steps)

    def _take_in(self, version: Version, staged: Staged) -> None:
        try:
            version.behaviours = behaviours_of(staged)
            version.features = features_of(staged, self._limits)
            version.staged = staged
        except Exception as error:
            staged.drop()
            raise GivenUp("refused", f"load: {type(error).__name__}: {error}") from None

    async def _try(self, version: Version, fast: bool) -> None:
        """The canary, then everybody, watched."""
        settings = self.settings
        with self._on_loop():
            self._begin_trial(version, 1.0 if fast else settings.canary_share)
        if not fast:
            self._set(phase="canary", share=settings.canary_share)
            await self._judged_for(settings.canary_s)
        assert self._trial is not None
        assert self._feature_trial is not None
        with self._on_loop():
            self._trial.share = 1.0
            self._feature_trial.all()
        self._set(phase="watch", share=1.0)
        self._watched = version
        await self._judged_for(settings.watch_s)

    def _begin_trial(self, version: Version, share: float) -> None:
        top = self._stack[-1]
        trial = Trial(
            top.behaviours,
            version.behaviours,
            share,
            version.number * 0x1F123BB5,
            self._cpu_ns,
            wrong,
            self._news.set,
        )
        self._tallies = ({}, {})
        try:
            self._feature_trial = FeatureTrial(
                self._hub,
                version.features,
                trial.takes_part,
                lambda what: trial.against(what),
                self._cpu_ns,
                self._feature_time,
            )
        except Exception as error:
            raise GivenUp("refused", f"load: {type(error).__name__}: {error}") from None
        self._behaviours.try_out(trial)
        self._trial = trial

    def _feature_time(self, what: str, is_new: bool, ns: int) -> None:
        tally = self._tallies[is_new].get(what)
        if tally is None:
            tally = self._tallies[is_new][what] = Tally()
        tally.add(ns)

    async def _judged_for(self, seconds: float) -> None:
        """Raises GivenUp as soon as the new version is worse, or an operator says so."""
        end_s = time.monotonic() + seconds
        while True:
            judgement = self._judge()
            if self._back:
                raise GivenUp("rolled back", self._back)
            if judgement.worse:
                assert self._now is not None
                raise GivenUp("rolled back", f"{self._now.phase}: {judgement.worse}")
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return
            self._news.clear()
            try:
                async with asyncio.timeout(min(left_s, JUDGE_EVERY_S)):
                    await self._news.wait()
            except TimeoutError:
                continue

    def _judge(self) -> Judgement:
        trial = self._trial
        assert trial is not None
        with self._on_loop():
            pairs = [*compared(trial.of_old, trial.of_new), *compared(*self._tallies)]
            judgement = judge(pairs, trial.failed_new, trial.failures, self.settings)
        self._set(
            failed_new=trial.failed_new,
            failed_both=trial.failed_both,
            affected=trial.affected,
            measures=judgement.measures,
            notes=judgement.notes,
        )
        return judgement

    def _settle_now(self) -> None:
        """A developer's next version is there: the one that is watched counts as accepted."""
        assert self._task is not None
        task, self._task = self._task, None
        version = self._watched
        task.cancel()
        if version is not None:
            self._accept(version)

    def _accept(self, version: Version) -> None:
        with self._on_loop():
            self._watched = None
            if self._feature_trial is not None:
                self._feature_trial.end(won=True)
                version.tables = self._hub.tables
            self._behaviours.use(version.behaviours)
        self._trial = self._feature_trial = None
        self._stack.append(version)
        for old in self._stack[1:-IN_MEMORY]:
            old.unload()
        self._remember()
        self._end("accepted", "all accounts have it")

    def _undo(self, version: Version | None, is_bad: bool = True) -> None:
        """Back to what ran before, at the next message of everybody. States are migrated back,
        or, of a version that was found bad, loaded again from their rows.
        """
        with self._on_loop():
            if self._trial is not None:
                if is_bad:
                    self._trial.distrust()
                self._behaviours.use(self._stack[-1].behaviours)
            if self._feature_trial is not None:
                self._feature_trial.end(won=False)
        self._trial = self._feature_trial = None
        self._watched = None
        if version is not None:
            version.unload()

    # ---- small parts ---------------------------------------------------------------------

    def _load(self, version: Version) -> None:
        """At once, where nobody waits yet, or somebody cannot wait."""
        staged = _staged(version).load_now()
        version.behaviours = behaviours_of(staged)
        version.features = features_of(staged, self._limits)
        version.staged = staged

    def _put_in_place(self, version: Version) -> None:
        if version.tables is None:
            version.tables = self._hub.tables_of(version.features)
        self._hub.tables = version.tables
        self._behaviours.use(version.behaviours)

    def _remember(self) -> None:
        in_use = self.history.in_use
        in_use.stack = [version.number for version in self._stack[1:]]
        in_use.installed = self._stack[0].packed.whole
        self.history.prune(self.settings.kept_max)
        gone = len(self._stack) - 1 - len(in_use.stack)
        if gone:
            del self._stack[1 : 1 + gone]
        self.history.save()

    def _set(self, **changes: Any) -> None:
        if self._now is not None:
            self._now = replace(self._now, **changes)

    def _shown(self) -> Upgrade | None:
        if self._now is None:
            return None
        return replace(
            self._now,
            pause_ms=round(self._longest_s * 1e3, 2),
            pause_cpu_ms=round(self._longest_cpu_s * 1e3, 2),
        )

    def _end(self, result: str, text: str) -> None:
        self._set(phase="ended", result=result, text=text, ended_s=self._wall_s())
        shown = self._shown()
        assert shown is not None
        self._now = shown
        self.history.add(shown)
        told = log.info if result == "accepted" else log.warning
        told("upgrade ended", number=shown.number, result=result, reason=text)

    @contextmanager
    def _on_loop(self) -> Iterator[None]:
        """A piece of work that everybody waits for: how long?"""
        began_s, began_cpu_ns = time.perf_counter(), time.thread_time_ns()
        try:
            yield
        finally:
            took_cpu_s = (time.thread_time_ns() - began_cpu_ns) / 1e9
            self._longest_cpu_s = max(self._longest_cpu_s, took_cpu_s)
            self._longest_s = max(self._longest_s, time.perf_counter() - began_s)


def _lives(pid: str) -> bool:
    """Is there such a process? If it is another one, its archive goes at the next start."""
    try:
        os.kill(int(pid), 0)
    except ValueError:
        return False
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def _ignore(handle: object) -> None:
    """Nobody cancels it."""


def _staged(version: Version) -> Staged:
    """Compiled from its archive, under a name that no other loading has."""
    files = read_all(Path(version.packed.path))
    root = f"{PREFIX}{version.number}_{next(_LOADINGS)}"
    units = compiled(sources(files), package_modules(files), root, version.packed.path)
    return Staged(root, units)
