"""What reloaded code shares with the rest of the server, read from source and never imported.

A surface is everything about a name that others rely on: a class's bases, fields, attributes
and methods, a function's parameters, a constant's value. Texts and bodies do not count.
`compare` tells which names of the new tree differ from the running one in a way that the new
rules or features would meet; what else differs is a note.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

Facts = dict[str, str]  # "field name" -> how it is declared
SHARED = "whimbrel.domain"  # all of its types travel in messages, effects and states
LINES_MAX = 12


class Difference(NamedTuple):
    name: str  # whimbrel.domain.user.Pair
    what: str  # "attribute muted is new"

    def __str__(self) -> str:
        return f"{self.name}: {self.what}"


class Used(NamedTuple):
    """What the reloaded code takes from elsewhere."""

    names: frozenset[tuple[str, str]]  # (module, name)
    attributes: frozenset[str]  # every .name it touches


def used_by(trees: Iterable[ast.Module]) -> Used:
    names: set[tuple[str, str]] = set()
    attributes: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names |= {(node.module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Attribute):
                attributes.add(node.attr)
    return Used(frozenset(names), frozenset(attributes))


def compare(
    running: Mapping[str, ast.Module], fresh: Mapping[str, ast.Module], used: Used
) -> tuple[list[Difference], list[str]]:
    """(what needs a restart, what is only noted). Modules by dotted name."""
    grave: list[Difference] = []
    notes: list[str] = []
    for module in sorted(fresh.keys() | running.keys()):
        old = surfaces(running[module]) if module in running else {}
        new = surfaces(fresh[module]) if module in fresh else {}
        shared = module.startswith(f"{SHARED}.")
        for name in sorted(new.keys() | old.keys()):
            here = name in old
            imported = (module, name) in used.names
            touched = name in used.attributes and _parent_used(module, used)
            if name not in new or not (imported or touched or (shared and here)):
                continue
            if not here:
                grave.append(Difference(f"{module}.{name}", "the running server has no such name"))
                continue
            for what, member in _differences(old[name], new[name]):
                difference = Difference(f"{module}.{name}", what)
                if shared or not member or member in used.attributes:
                    grave.append(difference)
                else:
                    notes.append(str(difference))
        if module in running and module in fresh:
            notes += _bodies(module, running[module], fresh[module])
    return grave, notes[:LINES_MAX]


def _parent_used(module: str, used: Used) -> bool:
    """`from whimbrel.protocol.xmpp import names`, then names.X."""
    parent, _, last = module.rpartition(".")
    return (parent, last) in used.names


def surfaces(tree: ast.Module) -> dict[str, Facts]:
    """All top-level names of a module."""
    return dict(_named(tree.body))


def _named(body: Iterable[ast.stmt]) -> Iterator[tuple[str, Facts]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield node.name, _class(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, {"parameters": _signature(node)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, {"value": _text(node.value) + _text(node.annotation)}
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(part, ast.Name):
                        yield part.id, {"value": _text(node.value)}
        elif isinstance(node, ast.If | ast.Try):
            yield from _named([*node.body, *node.orelse])


def _class(node: ast.ClassDef) -> Facts:
    facts = {
        "bases": ", ".join([*map(_text, node.bases), *map(_text, node.keywords)]),
        "decorators": ", ".join(map(_text, node.decorator_list)),
    }
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            facts[f"field {each.target.id}"] = f"{_text(each.annotation)} = {_text(each.value)}"
        elif isinstance(each, ast.Assign):
            for target in each.targets:
                facts[f"field {_text(target)}"] = _slots(each.value)
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            facts[f"method {each.name}"] = _signature(each)
            if each.name == "__init__":
                facts |= dict(_attributes(each))
    return facts


def _attributes(init: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, str]]:
    for node in ast.walk(init):
        targets: list[ast.expr] = []
        said = ""
        if isinstance(node, ast.AnnAssign):
            targets, said = [node.target], _text(node.annotation)
        elif isinstance(node, ast.Assign):
            targets = list(node.targets)
            said = type(node.value.value).__name__ if isinstance(node.value, ast.Constant) else ""
        for target in targets:
            for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(part, ast.Attribute) and _text(part.value) == "self":
                    yield f"attribute {part.attr}", said


def _slots(value: ast.expr) -> str:
    """The order of __slots__ means nothing."""
    if isinstance(value, ast.Tuple | ast.List):
        return ", ".join(sorted(map(_text, value.elts)))
    return _text(value)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    kind = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    decorators = "".join(f"@{_text(each)} " for each in node.decorator_list)
    return f"{decorators}{kind}({_text(node.args)}) -> {_text(node.returns)}"


def _text(node: ast.AST | None) -> str:
    return "" if node is None else ast.unparse(node)


def _differences(old: Facts, new: Facts) -> Iterator[tuple[str, str]]:
    """(what, the member it is about or "")."""
    for fact in sorted(old.keys() | new.keys()):
        member = fact.partition(" ")[2]
        if fact == "field __slots__":
            continue  # each of them is an attribute of its own
        if fact not in old:
            yield f"{fact} is new", member
        elif fact not in new:
            yield f"{fact} is gone", member
        elif old[fact] != new[fact]:
            yield f"{fact} differs ({_short(old[fact])} -> {_short(new[fact])})", member


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _bodies(module: str, old: ast.Module, new: ast.Module) -> list[str]:
    """Functions whose code differs although they look the same: the running ones stay."""
    before, after = dict(_functions(old.body, "")), dict(_functions(new.body, ""))
    changed = [name for name in after if name in before and before[name] != after[name]]
    if not changed:
        return []
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return [f"{module}: {', '.join(changed[:3])}{more} differs; the running code stays"]


def _functions(body: Iterable[ast.stmt], above: str) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            yield above + node.name, "\n".join(map(ast.dump, said))
