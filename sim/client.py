"""An XMPP client: a stream of real bytes, stream management, and people who are careless with it.

It was written from RFC 6120, RFC 6121 and XEP-0198, not from the server, and reads XML by another
parser: like device.py it is the independent half of every check. What it says is numbered (`7 of
ann/1001`), so that a message is known again on any screen and on the disk. Long, because one
client is one story: what it says, what it hears, and what it takes for granted.
"""

import re
from base64 import b64encode
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, XMLPullParser

from sim.time import MS, SECOND
from whimbrel.domain.ids import account_number
from whimbrel.protocol import wire

if TYPE_CHECKING:
    from sim.network import Line
    from sim.world import SimWorld

DOMAIN = "sim"
FIRST = 1_001  # clients' numbers begin here; devices of the own protocol stay below
ASK_US, SILENCE_US = 12 * SECOND, 30 * SECOND
_C = "{jabber:client}"
_SM = "{urn:xmpp:sm:3}"
_SASL = "{urn:ietf:params:xml:ns:xmpp-sasl}"
_STREAM = "{http://etherx.jabber.org/streams}"
_CARBONS = "{urn:xmpp:carbons:2}"
_RECEIVED = "{urn:xmpp:receipts}received"
_DISPLAYED = "{urn:xmpp:chat-markers:0}displayed"
_HEADER = (
    f"<?xml version='1.0'?><stream:stream to='{DOMAIN}' xmlns='jabber:client'"
    " xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
_TEXT = re.compile(r"(\d+) of (\w+)/(\d+)")
Identity = tuple[str, int, int]  # sender's account, number of its client, number of the message


def identity_of(text: str) -> Identity | None:
    """Whose message, from its text."""
    found = _TEXT.fullmatch(text)
    return (found[2], int(found[3]), int(found[1])) if found else None


def is_client(number: int) -> bool:
    return number >= FIRST


def id_of(who: Identity) -> str:
    """How a client names its message on the wire."""
    return "-".join(map(str, who))


def identity_named(ref: str) -> Identity | None:
    """The reverse."""
    account, _, rest = ref.partition("-")
    number, _, c = rest.partition("-")
    return (account, int(number), int(c)) if c.isdigit() and number.isdigit() else None


class Said:
    """One message of this client. answered: acknowledged, refused, or nobody can know."""

    __slots__ = ("answered", "c", "code", "session", "text", "to", "written")

    def __init__(self, c: int, to: str, text: str) -> None:
        self.c = c
        self.to = to
        self.text = text
        self.written = False
        self.session = 0  # in which of the client's sessions
        self.answered = False
        self.code = ""


class XmppClient:
    """managed: it speaks XEP-0198. One that does not has no promise for what it sends."""

    def __init__(
        self, world: "SimWorld", account: str, number: int, key: str, seed: int, managed: bool
    ) -> None:
        self.world = world
        self.account = account
        self.actor = account_number(account)
        self.number = number
        self.name = f"{account}/{number}"
        self.key = key
        self.chance = Random(seed)
        self.managed = managed
        self.carbons = self.chance.random() < 0.5
        self.online, self.welcomed, self.here = True, False, True
        self.dead = self.lost = False
        self.line: Line | None = None
        self.node = -1  # where its session is
        self.heard_us = 0
        self.sent: list[Said] = []
        self.shown: list[tuple[str, int, int, str]] = []
        self.lazy, self.lag_us = False, 0
        self.steals_from: XmppClient | None = None
        self.sessions = 0
        self.base = 0  # what its account had confirmed when this session began
        self.screen: set[Identity] = set()  # of this session
        # stream management
        self.token = ""
        self.counted_in = self.counted_out = self.acked = 0
        self.unacked: deque[Said | None] = deque()
        self._counts_in = self._counts_out = False
        self._seen = 0  # how many of `shown` are acknowledged
        self._parser: Any = None
        self._depth = 0
        self._step = ""
        self._asked: list[tuple[str, int]] = []  # requests of the server that wait for our answer
        self._answer_set = False
        self._leaves = False
        self._retry_us = 100 * MS

    # ---- connection ----------------------------------------------------------------------

    def connect(self) -> None:
        if self.line is not None or not self.online or self.dead:
            return
        up = [node for node in self.world.nodes if node.up]
        if not up:
            self.world.time.after(SECOND, self.connect)
            return
        same = [node for node in up if node.number == self.node]
        node = same[0] if same and self.chance.random() < 0.7 else self.chance.choice(up)
        self.line = line = self.world.connect(self, node)
        self.heard_us = self.world.time.now_us
        self._step = "greeted"
        self._leaves = False
        self._open()
        self.world.time.after(ASK_US, lambda: self._watch(line))

    def _open(self) -> None:
        self._parser = XMLPullParser(("start", "end"))
        self._depth = 0
        self._say(_HEADER)

    def _watch(self, line: "Line") -> None:
        """A server that says nothing any more is left."""
        if self.line is not line:
            return
        if self.world.time.now_us - self.heard_us > SILENCE_US:
            line.hang_up(silently=False)
            self.disconnected(line)
            return
        if self.welcomed:
            self._ask()
        self.world.time.after(ASK_US, lambda: self._watch(line))

    def _ask(self) -> None:
        if self.managed:
            self._say("<r xmlns='urn:xmpp:sm:3'/>")
        else:
            self._say("<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>")

    def disconnected(self, line: "Line") -> None:
        if self.line is not line:
            return
        self._gone()
        self._retry_us = min(self._retry_us * 2, 5 * SECOND)
        self.world.time.after(self.chance.randrange(self._retry_us), self.connect)

    def finished(self, line: "Line") -> None:
        """The server has ended its side in good order: after a goodbye, all was read."""
        if self.line is line and self._leaves and not self.managed:
            self._confirm(len(self.shown))
        line.hang_up(silently=False)
        self.disconnected(line)

    def _gone(self) -> None:
        self.line = None
        self.welcomed = False
        self._asked.clear()

    def vanish(self, for_us: int, silently: bool) -> None:
        """Into a tunnel; comes back by itself."""
        self.online = False
        if self.line is not None:
            self.line.hang_up(silently)
            self._gone()
        self.world.time.after(for_us, self.back)

    def back(self) -> None:
        self.online = True
        self.connect()

    def leave(self, for_us: int) -> None:
        """Says goodbye: the session is over, whatever waited goes to the next one."""
        if self.welcomed:
            self.world.story.add("goodbye", self.name)
            self._say("</stream:stream>")
            self.token = ""
            self._leaves = True
            self.online = self.welcomed = False
            self.world.time.after(for_us, self.back)

    def _say(self, text: str) -> None:
        if self.line is not None:
            self.line.send(text.encode())

    def _stanza(self, text: str, said: Said | None = None) -> None:
        if self._counts_out:
            self.counted_out += 1
            self.unacked.append(said)
        self._say(text)

    # ---- what the person does ------------------------------------------------------------

    def write(self, to: str, text: str) -> None:
        said = Said(len(self.sent) + 1, to, text)
        self.sent.append(said)
        if self.welcomed:
            self._write(said)

    def _write(self, said: Said) -> None:
        said.written = True
        said.session = self.sessions
        name = id_of((self.account, self.number, said.c))
        text = (
            f"<message to='{self._jid(said.to)}' type='chat' id='{name}'><body>{said.text}</body>"
            "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>"
            "</message>"
        )
        self._stanza(text, said)
        if not self.managed:
            said.answered = True
        elif self.chance.random() < 0.7:
            self._ask()

    def _jid(self, to: str) -> str:
        """Mostly of the account, sometimes of one of its clients, there or not."""
        others = [client.number for client in self.world.clients if client.account == to]
        if others and self.chance.random() < 0.2:
            return f"{to}@{DOMAIN}/r{self.chance.choice(others)}"
        return f"{to}@{DOMAIN}"

    def twice(self) -> None:
        """A nervous client asks again and again."""
        if self.welcomed:
            self._ask()
            self._ask()

    def read_all(self, peer: str, id: int) -> None:
        """The last message that was shown is read."""
        if self.welcomed and self.shown:
            sender, number, c, _ = self.shown[-1]
            self._confirm(len(self.shown))  # who has read it has all before it, too
            name = id_of((sender, number, c)) if is_client(number) else str(id)
            self._stanza(
                f"<message to='{sender}@{DOMAIN}' type='chat'>"
                f"<displayed xmlns='urn:xmpp:chat-markers:0' id='{name}'/></message>"
            )

    def command(self, message: wire.Wire) -> None:
        if self.welcomed and isinstance(message, wire.Typing):
            self._stanza(
                f"<message to='{message.peer}@{DOMAIN}' type='chat'>"
                "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
            )

    def away(self, for_us: int) -> None:
        """Unavailable for a while, in the same session."""
        if self.welcomed and self.here:
            self.here = False
            self._stanza("<presence type='unavailable'/>")
            self.world.time.after(for_us, self.return_)

    def return_(self) -> None:
        if not self.here:
            self.here = True
            if self.welcomed:
                self._stanza("<presence/>")

    # ---- what the server says ------------------------------------------------------------

    def received(self, line: "Line", data: bytes) -> None:
        if self.line is not line:
            return
        self.heard_us = self.world.time.now_us
        self._parser.feed(data)
        for event, element in self._parser.read_events():
            if event == "start":
                self._depth += 1
                continue
            self._depth -= 1
            if self._depth == 1:
                self._take(element)
                element.clear()
                if self.line is not line:
                    return
                if self._depth == 0:  # a new stream began inside
                    return

    def _take(self, e: Element) -> None:
        if e.tag in _STANZAS:
            if self._counts_in:
                self.counted_in += 1
            _STANZAS[e.tag](self, e)
        elif e.tag in _OTHERS:
            _OTHERS[e.tag](self, e)
        else:
            self.world.laws.check(7, "a client understands the server", False, e.tag)

    def on_features(self, e: Element) -> None:
        if self._step == "greeted":
            self._step = "proves itself"
            claim = b64encode(f"\0{self.account}\0{self.key}".encode()).decode()
            self._say(
                f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{claim}</auth>"
            )
        elif self.steals_from is not None and self.steals_from.token:
            self._step = "steals"
            self._say(f"<resume xmlns='urn:xmpp:sm:3' previd='{self.steals_from.token}' h='0'/>")
        else:
            self._begin()

    def _begin(self) -> None:
        if self.token:
            self._step = "resumes"
            h = self.counted_in
            self._confirm(len(self.shown))
            self._say(f"<resume xmlns='urn:xmpp:sm:3' previd='{self.token}' h='{h}'/>")
        else:
            self._bind()

    def _bind(self) -> None:
        self._step = "binds"
        self._say(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            f"<resource>r{self.number}</resource></bind></iq>"
        )

    def on_success(self, e: Element) -> None:
        self._open()

    def on_sasl_failure(self, e: Element) -> None:
        passing = e.find(f"{_SASL}temporary-auth-failure") is not None
        self.world.laws.check(6, "a key that was not taken opens", passing, self.name)
        self._drop_line()

    def _drop_line(self) -> None:
        line = self.line
        if line is not None:
            line.hang_up(silently=False)
            self.disconnected(line)

    def on_iq(self, e: Element) -> None:
        id, kind = e.get("id", ""), e.get("type")
        if kind == "get":
            self._asked.append((id, len(self.shown)))
            self._answer_soon()
        elif id == "bind":
            if kind == "result":
                self._bound()
            else:
                self._drop_line()  # too many clients, try again

    def _bound(self) -> None:
        self._end_session()
        self.sessions += 1
        self.node = self.line.node.number if self.line is not None else -1
        self.world.story.add("bound", self.name)
        self.world.laws.xmpp.begins(self)
        if self.managed:
            self._say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
            self._counts_out = True
        if self.carbons:
            self._stanza("<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        if self.here:
            self._stanza("<presence/>")
        self._welcome()

    def _welcome(self) -> None:
        self.welcomed = True
        self._retry_us = 100 * MS
        for said in [each for each in self.sent if not each.written and not each.answered]:
            self._write(said)

    def _end_session(self) -> None:
        """What was written and not acknowledged: nobody knows. It is said again, as new."""
        self.token = ""
        self._counts_in = self._counts_out = False
        self.counted_in = self.counted_out = self.acked = 0
        self.unacked.clear()
        self.screen.clear()
        self._seen = len(self.shown)
        for said in [each for each in self.sent if each.written and not each.answered]:
            said.answered, said.code = True, "unknown"
            self.world.write_as(self, said.to)

    # ---- stream management ---------------------------------------------------------------

    def on_enabled(self, e: Element) -> None:
        self.token = e.get("id", "")
        self._counts_in = True

    def on_resumed(self, e: Element) -> None:
        stolen = self._step == "steals"
        self.world.laws.check(6, "a session belongs to its account", not stolen, self.name)
        self.world.story.add("resumed", self.name, e.get("h"))
        self._on_h(int(e.get("h", "")))
        again, self.unacked = self.unacked, deque()
        self.counted_out = self.acked
        self.welcomed = True
        self._retry_us = 100 * MS
        for said in again:  # the same stanzas, in their order
            if said is not None:
                self._write(said)
        self._welcome()
        if not again:
            self._ask()
        if self.here:  # it may have been said into the void
            self._stanza("<presence/>")

    def on_failed(self, e: Element) -> None:
        if self._step == "steals":
            self.steals_from = None
            self._begin()
        elif self._step == "resumes":
            self._end_session()
            self._bind()

    def on_a(self, e: Element) -> None:
        self._on_h(int(e.get("h", "")))

    def _on_h(self, h: int) -> None:
        laws = self.world.laws
        count = h - self.acked
        fine = 0 <= count <= len(self.unacked)
        laws.check(2, "what was never sent is not acknowledged", fine, f"{self.name} {h}")
        self.acked = h
        for _ in range(count):
            said = self.unacked.popleft()
            if said is not None and not said.answered:
                said.answered = True
                laws.xmpp.acknowledged(self, (self.account, self.number, said.c))

    def on_r(self, e: Element) -> None:
        self._answer_soon()

    def _answer_soon(self) -> None:
        if not self.lazy and not self._answer_set:
            self._answer_set = True
            self.world.time.after(self.lag_us or self.chance.randrange(20 * MS), self._answer)

    def _answer(self) -> None:
        self._answer_set = False
        if not self.welcomed or self.lazy:
            return
        for id, seen in self._asked:
            if not self.managed:
                self._confirm(seen)
            self._stanza(f"<iq type='result' id='{id}' to='{DOMAIN}'/>")
        self._asked.clear()
        if self._counts_in:
            self._confirm(len(self.shown))
            self._say(f"<a xmlns='urn:xmpp:sm:3' h='{self.counted_in}'/>")

    def _confirm(self, seen: int) -> None:
        if seen > self._seen:
            for sender, number, c, _ in self.shown[self._seen : seen]:
                self.world.laws.xmpp.confirms(self, (sender, number, c))
            self._seen = seen

    def wake(self) -> None:
        """No longer lazy: it says what it held back."""
        held_back, self.lazy, self.lag_us = self.lazy, False, 0
        if held_back:
            self._answer_soon()

    # ---- messages ------------------------------------------------------------------------

    def on_message(self, e: Element) -> None:
        if e.get("type") == "error":
            self._on_error(e)
            return
        inner = e.find(f"{_CARBONS}sent/{{urn:xmpp:forward:0}}forwarded/{_C}message")
        if inner is not None:
            self.world.laws.xmpp.carbon(self, identity_of(inner.findtext(f"{_C}body", "")))
            return
        inner = e.find(f"{_CARBONS}received/{{urn:xmpp:forward:0}}forwarded/{_C}message")
        text = (e if inner is None else inner).findtext(f"{_C}body")
        if text is not None:
            who = identity_of(text)
            self.world.laws.xmpp.shown(self, who, text)
            assert who is not None
            self.screen.add(who)
            self.shown.append((*who, text))
            return
        for tag, read in ((_RECEIVED, False), (_DISPLAYED, True)):
            mark = e.find(tag)
            if mark is not None:
                self.world.laws.xmpp.marked(self, mark.get("id", ""), read)

    def _on_error(self, e: Element) -> None:
        who = identity_named(e.get("id", ""))
        error = e.find(f"{_C}error")
        condition = error[0].tag.rpartition("}")[2] if error is not None and len(error) else ""
        if who is not None and who[:2] == (self.account, self.number):
            self.sent[who[2] - 1].code = condition
            self.world.laws.xmpp.failed(self, who, condition)

    def on_presence(self, e: Element) -> None:
        """Of the own account's other clients."""

    def on_stream_error(self, e: Element) -> None:
        condition = e[0].tag.rpartition("}")[2]
        self.world.story.add("told", self.name, condition)
        self.world.laws.xmpp.stream_error(self, condition)


_STANZAS: dict[str, Any] = {
    f"{_C}message": XmppClient.on_message,
    f"{_C}presence": XmppClient.on_presence,
    f"{_C}iq": XmppClient.on_iq,
}
_OTHERS: dict[str, Any] = {
    f"{_STREAM}features": XmppClient.on_features,
    f"{_STREAM}error": XmppClient.on_stream_error,
    f"{_SASL}success": XmppClient.on_success,
    f"{_SASL}failure": XmppClient.on_sasl_failure,
    f"{_SM}enabled": XmppClient.on_enabled,
    f"{_SM}resumed": XmppClient.on_resumed,
    f"{_SM}failed": XmppClient.on_failed,
    f"{_SM}a": XmppClient.on_a,
    f"{_SM}r": XmppClient.on_r,
}
