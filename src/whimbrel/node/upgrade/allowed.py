"""What reloaded code may know (law 8), read from its source: the same that import-linter holds
for the project, and what it cannot see: calls of open() and eval(), types among the rules.
"""

import ast
from collections.abc import Iterator

RULES, FEATURES = "whimbrel.logic", "whimbrel.edge.xmpp.features"
PURE = (
    *("__future__", "abc", "bisect", "collections", "dataclasses", "enum", "functools"),
    *("hashlib", "heapq", "hmac", "itertools", "math", "operator", "re", "string", "struct"),
    *("types", "typing", "unicodedata", "msgspec"),
)
OURS_OF_RULES = ("whimbrel.domain", RULES)
NOT_OF_FEATURES = (
    "whimbrel.logic",
    "whimbrel.storage",
    "whimbrel.cluster",
    "whimbrel.runtime",
    "whimbrel.node",
    "whimbrel.services",
    "whimbrel.cli",
    "whimbrel.client",
)
NO_CALLS = (
    *("open", "exec", "eval", "compile", "__import__", "input", "print", "breakpoint"),
    *("globals", "vars", "setattr", "delattr"),
)
OUTSIDE = ("socket", "ssl", "subprocess", "os", "threading", "multiprocessing", "ctypes", "time")


def refusals(module: str, tree: ast.Module) -> Iterator[str]:
    """Each thing that must not be there, with its line."""
    rules = module == RULES or module.startswith(f"{RULES}.")
    for node in ast.walk(tree):
        where = f"{module} line {getattr(node, 'lineno', 0)}"
        for name in imported(node):
            if not (_rules_may(name) if rules else _features_may(name)):
                whose = "rules know no clock, chance, socket or database" if rules else "the edge"
                yield f"{where}: may not import {name} ({whose})"
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"{where}: import names, not *"
        if isinstance(node, ast.Import) and any(_bare(alias) for alias in node.names):
            yield f"{where}: write `from package import module`"
        if isinstance(node, ast.FunctionDef) and _imports_late(node):
            yield f"{where}: imports inside a function are not reloaded"
        if rules and isinstance(node, ast.ClassDef):
            yield f"{where}: rules define no types ({node.name}); they live in domain/"
        if isinstance(node, ast.Call) and _text(node.func) in NO_CALLS:
            yield f"{where}: may not call {_text(node.func)}()"


def _text(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def imported(node: ast.AST) -> list[str]:
    """Modules in full; of `from a import b` it is a."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." * node.level + (node.module or "")]
    return []


def _bare(alias: ast.alias) -> bool:
    return alias.asname is None and is_reloaded(alias.name)


def is_reloaded(module: str) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in (RULES, FEATURES))


def _imports_late(function: ast.FunctionDef) -> bool:
    return any(is_reloaded(name) for node in ast.walk(function) for name in imported(node))


def _within(name: str, roots: tuple[str, ...]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def _rules_may(name: str) -> bool:
    if name.startswith("."):
        return False
    if name.startswith("whimbrel"):
        return _within(name, OURS_OF_RULES)
    return name.partition(".")[0] in PURE


def _features_may(name: str) -> bool:
    if name.startswith("."):
        return False
    return not _within(name, NOT_OF_FEATURES) and name.partition(".")[0] not in OUTSIDE
