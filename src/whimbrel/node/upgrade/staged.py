"""A version beside the running one: modules of its own under a name of its own.

`whimbrel.logic.submit` of the new tree becomes `whimbrel_staged_7.logic.submit`. Imports of
reloaded modules inside it are rewritten to the staged ones before compiling; everything else
it imports is the running server's own. Law: never half. If a module cannot be loaded, all of
them are gone again.
"""

import ast
import marshal
import re
import sys
from collections.abc import Generator, Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import NamedTuple

from whimbrel.node.upgrade.allowed import FEATURES, RULES, imported, is_reloaded

PREFIX = "whimbrel_staged_"


class Broken(Exception):
    """The new code cannot be compiled or loaded. The text is for the operator."""


class Unit(NamedTuple):
    code: CodeType
    package: bool
    needs: tuple[str, ...]  # reloaded modules that it imports


def staged_name(module: str, root: str) -> str:
    return root + module.removeprefix("whimbrel")


class _Rename(ast.NodeTransformer):
    """Imports of reloaded modules, for a version that lives under `root`."""

    def __init__(self, root: str) -> None:
        self._root = root

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.AST]:
        module = node.module or ""
        if is_reloaded(module):
            return _from(staged_name(module, self._root), node.names, node)
        ours = [a for a in node.names if is_reloaded(f"{module}.{a.name}")]
        if not ours:
            return node
        found: list[ast.AST] = [_from(staged_name(module, self._root), ours, node)]
        rest = [alias for alias in node.names if alias not in ours]
        return [*found, _from(module, rest, node)] if rest else found

    def visit_Import(self, node: ast.Import) -> ast.AST:
        for alias in node.names:
            if is_reloaded(alias.name):
                alias.name = staged_name(alias.name, self._root)
        return node


def _from(module: str, names: list[ast.alias], like: ast.ImportFrom) -> ast.ImportFrom:
    return ast.copy_location(ast.ImportFrom(module=module, names=names, level=0), like)


def parse(name: str, source: str) -> ast.Module:
    """Raises Broken with file and line."""
    try:
        return ast.parse(source, name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" line {error.lineno}" if isinstance(error, SyntaxError) else ""
        what = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        raise Broken(f"{name}{where}: {what}") from None


def compiled(
    sources: Mapping[str, str], packages: frozenset[str], root: str, archive: str
) -> dict[str, Unit]:
    """The reloaded modules of a tree by their staged names, in an order that loads."""
    units: dict[str, Unit] = {root: _empty(root)}
    for name in (f"{root}.edge", f"{root}.edge.xmpp"):
        units[name] = _empty(name)
    found: dict[str, Unit] = {}
    for name in sorted(filter(is_reloaded, sources)):
        tree = parse(name, sources[name])
        needs = {
            module
            for node in ast.walk(tree)
            for module in _imports_of(node)
            if is_reloaded(module) and module in sources and module != name
        }
        tree = ast.fix_missing_locations(_Rename(root).visit(tree))
        file = f"{archive}/{name.replace('.', '/')}.py"
        try:
            code = compile(tree, file, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError) as error:
            raise Broken(f"{name}: {error}") from None
        found[name] = Unit(code, name in packages, tuple(sorted(needs)))
    if RULES not in found or FEATURES not in found:
        raise Broken("the packages whimbrel.logic and whimbrel.edge.xmpp.features must be there")
    for name in _ordered(found):
        unit = found[name]
        staged = tuple(staged_name(each, root) for each in unit.needs)
        units[staged_name(name, root)] = unit._replace(needs=staged)
    return units


def _imports_of(node: ast.AST) -> list[str]:
    names = imported(node)
    if isinstance(node, ast.ImportFrom):
        names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _empty(name: str) -> Unit:
    return Unit(compile("", name, "exec"), True, ())


def _ordered(units: Mapping[str, Unit]) -> list[str]:
    """Who is imported comes before who imports; packages first."""
    done: dict[str, None] = dict.fromkeys(
        name for name in units if units[name].package and not units[name].needs
    )
    waiting: set[str] = set()

    def visit(name: str) -> None:
        if name in done or name in waiting:
            return
        waiting.add(name)
        for need in units[name].needs:
            visit(need)
        done[name] = None

    for name in units:
        visit(name)
    return list(done)


def to_bytes(units: Mapping[str, Unit]) -> bytes:
    """For another process with the same Python."""
    return marshal.dumps({name: tuple(unit) for name, unit in units.items()})


def from_bytes(data: bytes) -> dict[str, Unit]:
    return {name: Unit(*unit) for name, unit in marshal.loads(data).items()}


class Staged(MetaPathFinder, Loader):
    """One version. `load()` yields between modules, so that a loop can breathe."""

    def __init__(self, root: str, units: Mapping[str, Unit]) -> None:
        self.root = root
        self._units = dict(units)
        self.is_loaded = False

    def load(self) -> Generator[str, None, None]:
        """Import all. Raises Broken, and nothing is left."""
        sys.meta_path.insert(0, self)
        try:
            for name in list(self._units):
                __import__(name)
                yield name
        except Exception as error:
            self.drop()
            raise Broken(_told(error, self.root)) from error
        except BaseException:  # given up by whoever loads
            self.drop()
            raise
        finally:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
        self._units = {}
        self.is_loaded = True

    def load_now(self) -> "Staged":
        for _ in self.load():
            pass
        return self

    def drop(self) -> None:
        """Forget it. Whoever still holds one of its functions keeps what it needs."""
        inside = f"{self.root}."
        for name in [name for name in sys.modules if name == self.root or name.startswith(inside)]:
            del sys.modules[name]
        self._units = {}
        self.is_loaded = False

    def __getitem__(self, module: str) -> ModuleType:
        """By the name it has in the tree: "whimbrel.logic.user"."""
        name = staged_name(module, self.root)
        if name not in sys.modules:
            raise Broken(f"there is no module {module}")
        return sys.modules[name]

    # ---- the import system's side --------------------------------------------------------

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        unit = self._units.get(fullname)
        if unit is None:
            return None
        return ModuleSpec(fullname, self, is_package=unit.package)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._units[module.__name__].code, module.__dict__)  # noqa: S102


def _told(error: BaseException, root: str) -> str:
    """In the tree's own names; of an exception only what it says about the code."""
    text = f"{type(error).__name__}: {error}".replace(root, "whimbrel")
    tb = error.__traceback__
    where = ""
    while tb is not None:
        name = str(tb.tb_frame.f_globals.get("__name__", ""))
        if name.startswith(root):
            where = f"whimbrel{name.removeprefix(root)} line {tb.tb_lineno}: "
        tb = tb.tb_next
    return where + re.sub(r" \(/[^)]*\)", "", text)[:300]  # of a file that is gone by now
