"""All checks of a packed version, in a process of their own: `python -m` is run by checker.py.

The running server's own code (as it was when it started) is on the path; the new tree is only
read, compiled, and loaded under its staged name. One JSON line per step goes to stdout. Law:
the first step that refuses ends it, and nothing of the server is touched.
"""

import asyncio
import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import structlog

from whimbrel.domain.limits import Limits
from whimbrel.edge.xmpp.features import features_for
from whimbrel.logic import desk, user
from whimbrel.node.upgrade import worlds
from whimbrel.node.upgrade.allowed import is_reloaded, refusals
from whimbrel.node.upgrade.contract import (
    behaviours_of,
    features_of,
    features_refusals,
    rules_refusals,
)
from whimbrel.node.upgrade.dialogues import talk, used
from whimbrel.node.upgrade.order import Order, Step
from whimbrel.node.upgrade.staged import Broken, Staged, compiled, parse, to_bytes
from whimbrel.node.upgrade.state_shape import Shapes, strangers
from whimbrel.node.upgrade.surface import compare, used_by
from whimbrel.node.upgrade.tree import NotAVersion, package_modules, read_all, sources
from whimbrel.runtime.behaviour import Behaviour

RESTART = "this needs `whimbrel restart`"
SHARING = ("whimbrel.domain", "whimbrel.protocol", "whimbrel.edge")  # what reloaded code uses
SHOWN = 4  # refusals told of one step
FAST = ("source", "imports", "types", "load", "contract")
ALL = (*FAST, "self-test", "worlds")
WORLDS_PART = 0.7  # of the time, at most


class No(Exception):
    """A step refuses. The text is for the operator."""


class Checks:
    def __init__(self, order: Order) -> None:
        self.order = order
        self.end_s = time.monotonic() + order.seconds
        self.notes: list[str] = []
        self.limits = Limits(archive_s=86_400)  # so that every feature is there

    def source(self) -> str:
        try:
            self.files = read_all(Path(self.order.candidate))
            self.sources = sources(self.files)
        except NotAVersion as error:
            raise No(str(error)) from None
        self.units = compiled(
            self.sources, package_modules(self.files), self.order.root, self.order.candidate
        )
        self.mine = [name for name in self.sources if is_reloaded(name)]
        self.trees = {name: parse(name, self.sources[name]) for name in self.mine}
        Path(self.order.code).write_bytes(to_bytes(self.units))
        return f"{len(self.mine)} modules"

    def imports(self) -> str:
        found = [each for name in self.mine for each in refusals(name, self.trees[name])]
        if found:
            raise No(_first(found))
        return ""

    def types(self) -> str:
        running = sources(read_all(Path(self.order.running)))
        mine = used_by(self.trees[name] for name in self.mine)
        differ = [
            name
            for name in sorted(running.keys() | self.sources.keys())
            if name.startswith(SHARING) and not is_reloaded(name)
            if running.get(name) != self.sources.get(name)
        ]
        theirs = {name: parse(name, running[name]) for name in differ if name in running}
        fresh = {name: parse(name, self.sources[name]) for name in differ if name in self.sources}
        grave, notes = compare(theirs, fresh, mine)
        self.notes += notes
        if grave:
            raise No(f"{RESTART}: {_first(list(map(str, grave)))}")
        return f"{len(mine.names)} shared names, {len(differ)} files around them differ"

    def load(self) -> str:
        self.staged = Staged(self.order.root, self.units).load_now()
        return ""

    def contract(self) -> str:
        self.running = self._base()
        old_features = features_for(self.limits)
        found = [
            *rules_refusals(self.staged, self.running),
            *features_refusals(self.staged, old_features, self.limits),
        ]
        if found:
            raise No(_first(found))
        self.fresh = behaviours_of(self.staged)
        self.features = features_of(self.staged, self.limits)
        count = sum(len(behaviour.handlers) for behaviour in self.fresh)
        return f"{count} messages, {len(self.features)} features of XMPP"

    def _base(self) -> list[Behaviour]:
        """The rules that run now: the installed ones, or an upgrade that was accepted."""
        if not self.order.base:
            return [Behaviour(user), Behaviour(desk)]
        files = read_all(Path(self.order.base))
        root = f"{self.order.root}_base"
        units = compiled(sources(files), package_modules(files), root, self.order.base)
        return behaviours_of(Staged(root, units).load_now())

    def self_test(self) -> str:
        uses = {
            "running": used(self.running, features_for(self.limits)),
            "new": used(self.fresh, self.features),
        }

        async def change(node: Any, which: str) -> None:
            uses[which](node)

        shapes = {which: Shapes() for which in uses}
        order = ("running", "new", "running", "new")
        folder = Path(self.order.work) / "self-test"
        refusal = asyncio.run(
            talk(folder, change, order, lambda which, state: shapes[which].look(state))
        )
        if refusal:
            raise No(refusal)
        same = [b.version for b in self.fresh] == [b.version for b in self.running]
        odd = strangers(shapes["running"].seen, shapes["new"].seen) if same else []
        if odd:
            raise No(f"the shape of the state differs under the same STATE_VERSION: {odd[0]}")
        return f"{len(order)} rounds over both front ends"

    def worlds(self) -> str:
        if not self.order.worlds:
            return "none wanted"
        if not worlds.is_there():
            return "the simulator is not installed"
        began_s = time.monotonic()
        end_s = began_s + WORLDS_PART * (self.end_s - began_s)
        player = worlds.Player(self.running[0], self.fresh[0])
        seeds = -(-self.order.worlds // len(worlds.KINDS))
        played = player.play(seeds, lambda: time.monotonic() > end_s)
        if played.refusal:
            raise No(played.refusal)
        return f"{played.worlds} worlds, {played.messages} messages"


def _first(found: list[str]) -> str:
    more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
    return "; ".join(found[:SHOWN]) + more


def run(order: Order) -> Iterator[Step]:
    checks = Checks(order)
    for name in FAST if order.fast else ALL:
        yield Step(name, "running")
        began_s = time.monotonic()
        step: Callable[[], str] = getattr(checks, name.replace("-", "_"))
        try:
            text, result = step(), "ok"
        except (No, Broken) as error:
            text, result = str(error), "refused"
        notes, checks.notes = checks.notes, []
        yield Step(name, result, text, round(time.monotonic() - began_s, 2), notes)
        if result == "refused":
            return


def main(arguments: list[str]) -> int:
    with contextlib.suppress(OSError):
        os.nice(10)  # the server comes first
    order = msgspec.json.decode(arguments[0], type=Order)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    out, sys.stdout = sys.stdout, io.StringIO()  # whatever new code prints is not ours
    for step in run(order):
        out.write(msgspec.json.encode(step).decode() + "\n")
        out.flush()
    return 0
