"""What a feature is: one file in features/ that declares what it answers. hub.py gathers them.

Handlers get the session and what came. docs/xmpp.md and the DOAP file are written from `specs`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.jid import Jid

if TYPE_CHECKING:
    from whimbrel.edge.xmpp.session import XmppSession

SERVER, ACCOUNT, OTHERS = "server", "account", "others"  # whom an iq may be for


class Spec(NamedTuple):
    """A document and how much of it is done. name: "RFC 6120" or "XEP-0030"."""

    name: str
    title: str
    version: str = ""
    status: str = "complete"  # or partial, planned
    note: str = ""


class Iq:
    """A request of a client, and the ways to answer it."""

    __slots__ = ("answered", "child", "element", "session", "to", "type")

    def __init__(self, session: "XmppSession", element: Element, child: Element, to: Jid) -> None:
        self.session = session
        self.element = element
        self.child = child
        self.to = to
        self.type = element.get("type")
        self.answered = False

    def reply(self, *nodes: Element) -> None:
        self.answered = True
        self.session.answer(self.element, *nodes)

    def error(
        self, condition: str, text: str = "", type: str = "", app: Element | None = None
    ) -> None:
        self.answered = True
        self.session.refuse(self.element, condition, text, type, app)

    def unanswered(self) -> None:
        """Whether it was done is not known."""
        self.error("resource-constraint", "no answer in time, try again", "wait")


IqHandler = Callable[[Any, Iq], None]  # (session, iq)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """iqs: (namespace, name of the child, whom it is for) -> handler, for get and set.
    nonzas: namespace -> handler of elements that are no stanzas; early: the same before the login.
    answers: what the account's actor
    says. offers: elements for <stream:features/>, after the login or (with False) before it.
    """

    name: str
    specs: tuple[Spec, ...]
    server: tuple[str, ...] = ()  # disco features of the server
    account: tuple[str, ...] = ()  # and of an account
    iqs: dict[tuple[str, str, str], IqHandler] = field(default_factory=dict)
    nonzas: dict[str, Callable[[Any, Element], None]] = field(default_factory=dict)
    answers: dict[type, Callable[[Any, Any], None]] = field(default_factory=dict)
    early: dict[str, Callable[[Any, Element], None]] = field(default_factory=dict)
    offers: Callable[[Any], list[Element]] | None = None
    begin: Callable[[Any], None] | None = None  # once, when the server starts
