"""Elements: a small tree, and how it is written so that it means the same anywhere.

A prefix never matters: an element knows its namespace, and the writer declares a default namespace
where it differs from the one around it. Attributes with a namespace are kept as "{uri}name"; only
xml:lang is common. Law: what was read and written again is read as the same tree.
"""

from collections.abc import Iterator
from typing import Union

from whimbrel.protocol.xmpp.names import CLIENT, XML

LANG = f"{{{XML}}}lang"
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_ATTRIBUTE = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&quot;",
        "'": "&apos;",
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
    }
)

Node = Union["Element", str]


class Element:
    """`ns`: the whole namespace, `name`: the local name, `nodes`: children and texts in order."""

    __slots__ = ("attributes", "name", "nodes", "ns")

    def __init__(
        self, ns: str, name: str, attributes: dict[str, str] | None = None, *nodes: Node
    ) -> None:
        self.ns = ns
        self.name = name
        self.attributes: dict[str, str] = attributes if attributes is not None else {}
        self.nodes: list[Node] = list(nodes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Element):
            return NotImplemented
        return (self.ns, self.name, self.attributes) == (
            other.ns,
            other.name,
            other.attributes,
        ) and _joined(self.nodes) == _joined(other.nodes)

    __hash__ = None  # type: ignore[assignment]

    def get(self, attribute: str, default: str = "") -> str:
        return self.attributes.get(attribute, default)

    def children(self) -> Iterator["Element"]:
        return (node for node in self.nodes if isinstance(node, Element))

    def find(self, ns: str, name: str) -> "Element | None":
        """The first child with this name."""
        return next((c for c in self.children() if c.name == name and c.ns == ns), None)

    def first(self) -> "Element | None":
        return next(self.children(), None)

    @property
    def text(self) -> str:
        """The texts directly inside, joined."""
        return "".join(node for node in self.nodes if isinstance(node, str))

    def child_text(self, ns: str, name: str) -> str | None:
        child = self.find(ns, name)
        return child.text if child is not None else None


def _joined(nodes: list[Node]) -> list[Node]:
    """Neighbouring texts are one text, and an empty one is none."""
    joined: list[Node] = []
    for node in nodes:
        if isinstance(node, str):
            if joined and isinstance(joined[-1], str):
                joined[-1] += node
            elif node:
                joined.append(node)
        else:
            joined.append(node)
    return joined


def write(element: Element, around: str = CLIENT) -> bytes:
    """As it stands in a stream whose default namespace is `around`."""
    parts: list[str] = []
    _write(element, around, parts)
    return "".join(parts).encode()


def _write(element: Element, around: str, parts: list[str]) -> None:
    """Iterative: a tree is as deep as its reader allowed, which need not be what we can recurse."""
    stack: list[tuple[Element, str, Iterator[Node]]] = []
    _open(element, around, parts, stack)
    while stack:
        current, ns, nodes = stack[-1]
        for node in nodes:
            if isinstance(node, str):
                parts.append(node.translate(_TEXT))
            else:
                _open(node, ns, parts, stack)
                break
        else:
            stack.pop()
            parts.append(f"</{current.name}>")


def _open(
    element: Element,
    around: str,
    parts: list[str],
    stack: list[tuple[Element, str, Iterator[Node]]],
) -> None:
    parts.append(f"<{element.name}")
    if element.ns != around:
        parts.append(f' xmlns="{element.ns.translate(_ATTRIBUTE)}"')
    foreign = 0
    for name, value in element.attributes.items():
        shown = name
        if name.startswith("{"):
            uri, _, local = name[1:].rpartition("}")
            if uri == XML:
                shown = f"xml:{local}"
            else:
                foreign += 1
                parts.append(f' xmlns:a{foreign}="{uri.translate(_ATTRIBUTE)}"')
                shown = f"a{foreign}:{local}"
        parts.append(f' {shown}="{value.translate(_ATTRIBUTE)}"')
    if element.nodes:
        parts.append(">")
        stack.append((element, element.ns, iter(element.nodes)))
    else:
        parts.append("/>")
