"""The self-test of a staged version: a whole server in a folder of its own, and two people.

Runs in the process of check.py, on ports of this machine that only it knows. Alice and Bob talk
over the own protocol and over XMPP, first with the running version, then with the new one put
in its place, then with the running one again; their connections stay. Nothing here asks how a
rule works: only what people are promised (check marks, order, once, answers).
"""

import asyncio
import base64
import re
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from whimbrel.domain.answers import PinRefused, PinRequested, Registered
from whimbrel.domain.desk import Desk
from whimbrel.domain.ids import ACTOR_DESK, account_number
from whimbrel.domain.messages import Register, RequestPin, VerifyPin
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Listen, Sms
from whimbrel.protocol import wire
from whimbrel.protocol.frames import FrameDecoder, encode_frame
from whimbrel.runtime.behaviour import Behaviour

LOOK_S = 0.25  # at most so long between two looks whether something has failed already
LOOKS = 2_000  # looks for one fact
PATIENCE_S = 15.0
HOST = "127.0.0.1"
NUMBER = "+4915112345678"
KEY = "a key of the self-test, as long as a real one"
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(wire.ToDevice).decode
_content = msgspec.msgpack.Decoder(wire.Content).decode


T = TypeVar("T")


class Unanswered(Exception):
    """What was promised did not come. The text says which promise."""


def key_hash(key: str) -> bytes:
    return sha256(key.encode()).digest()


class Phone:
    """A device that speaks the own protocol and behaves."""

    def __init__(self, name: str, over: asyncio.Event) -> None:
        self.name = name
        self._over = over
        self.last = self.era = self.c = 0
        self.stored: dict[int, int] = {}  # c -> id
        self.shown: list[str] = []
        self.delivered = 0
        self.read = 0
        self.heard: list[Any] = []
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def connect(self, port: int) -> None:
        reader, self._writer = await asyncio.open_connection(HOST, port)
        self.send(wire.Hello(wire.VERSION, self.name, 1, KEY, self.last, self.era, "self-test"))
        self._task = asyncio.get_running_loop().create_task(self._listen(reader))

    def send(self, message: wire.Wire) -> None:
        assert self._writer is not None
        self._writer.write(encode_frame(_pack(message)))

    async def close(self) -> None:
        if self._writer is not None and self._task is not None:
            self._writer.close()
            await asyncio.wait([self._task])

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        decoder = FrameDecoder(1 << 20)
        while data := await reader.read(65_536):
            for frame in decoder.feed(data):
                self._take(_unpack(frame))
            self._news.set()

    def _take(self, message: Any) -> None:
        self.heard.append(message)
        if isinstance(message, wire.Welcome):
            self.era = message.era
        elif isinstance(message, wire.Stored):
            self.stored[message.c] = message.id
        elif isinstance(message, wire.Ping):
            self.send(wire.Pong(message.n))
        elif isinstance(message, wire.Receipt):
            self.delivered = max(self.delivered, message.delivered)
            self.read = max(self.read, message.read)
        elif isinstance(message, wire.Message):
            self.shown.append(_content(message.body).text)
        if isinstance(message, wire.Item):
            self.last = message.q
            self.send(wire.Confirm(message.q))

    def write(self, to: str, text: str) -> int:
        self.c += 1
        self.again(self.c, to, text)
        return self.c

    def again(self, c: int, to: str, text: str) -> None:
        self.send(wire.Submit(c, to, msgspec.Raw(_pack(wire.Content(text=text)))))

    async def until(self, holds: Callable[[], object], what: str) -> None:
        for _ in range(LOOKS):
            if holds():
                return
            if self._over.is_set():
                break
            self._news.clear()
            await _patiently(self._news.wait())
        raise Unanswered(f"{self.name}: {what}")


class Stream:
    """An XMPP client of a few lines; it only looks for what it waits for."""

    def __init__(self, over: asyncio.Event) -> None:
        self.text = ""
        self._over = over
        self._number = 0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    def send(self, text: str) -> None:
        assert self._writer is not None
        self._writer.write(text.encode())

    async def until(self, pattern: str, what: str) -> str:
        assert self._reader is not None
        for _ in range(LOOKS):
            found = re.search(pattern, self.text, re.DOTALL)
            if found is not None:
                self.text = self.text[found.end() :]
                return found.group(0)
            if self._over.is_set():
                break
            data = await _patiently(self._reader.read(65_536))
            if data == b"":
                raise Unanswered(f"XMPP: the stream ended instead of {what}")
            self.text += (data or b"").decode("utf-8", "replace")
        raise Unanswered(f"XMPP: {what}")

    async def log_in(self, port: int, name: str, key: str = KEY) -> None:
        self._reader, self._writer = await asyncio.open_connection(HOST, port)
        header = (
            "<stream:stream xmlns='jabber:client' to='localhost' version='1.0'"
            " xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        self.send(header)
        await self.until("</stream:features>", "features")
        secret = base64.b64encode(f"\0{name}\0{key}".encode()).decode()
        sasl = "urn:ietf:params:xml:ns:xmpp-sasl"
        self.send(f"<auth xmlns='{sasl}' mechanism='PLAIN'>{secret}</auth>")
        await self.until("<success", "success")
        self.send(header)
        await self.until("</stream:features>", "features after the login")
        await self.ask("set", "", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
        self.send("<presence/>")

    async def ask(self, type_: str, to: str, child: str) -> str:
        """An iq that must be answered with a result."""
        self._number += 1
        id_ = f"q{self._number}"
        whom = f" to='{to}'" if to else ""
        self.send(f"<iq type='{type_}' id='{id_}'{whom}>{child}</iq>")
        answer = await self.until(
            f"<iq(?=[^>]*id=['\"]{id_}['\"])[^>]*?(/>|>.*?</iq>)", f"an answer to {child[:60]}"
        )
        if not re.search("^<iq[^>]*type=['\"]result['\"]", answer):
            raise Unanswered(f"XMPP: {child[:60]} was refused")
        return answer

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class Talk:
    def __init__(self, node: Node, over: asyncio.Event) -> None:
        self.node = node
        self.alice, self.bob = Phone("alice", over), Phone("bob", over)
        self.xmpp = Stream(over)
        self.round = 0
        self._written: list[str] = []

    async def begin(self) -> None:
        for name in ("alice", "bob", "carol"):
            await self._register(name)
        port = self.node.ports["native_plain"]
        await self.alice.connect(port)
        await self.bob.connect(port)
        await self.xmpp.log_in(self.node.ports["xmpp_plain"], "carol")

    async def _register(self, name: str) -> None:
        kept = self.node.keep(name, KEY)
        answer = await self.node.asking.ask(
            account_number(name), lambda n: Register(name, key_hash(KEY), "phone", n, kept)
        )
        if not isinstance(answer, Registered):
            raise Unanswered(f"{name} cannot sign up")

    def _write(self, text: str) -> int:
        self._written.append(text)
        return self.alice.write("bob", text)

    async def go_on(self) -> None:
        """One round; every promise is looked at, whoever is in charge."""
        self.round += 1
        await self._chat()
        await self._away()
        await self._commands()
        await self._requests()
        await self._sign_up()
        if self.bob.shown != self._written:
            raise Unanswered("bob: not every message once and in order")

    async def _chat(self) -> None:
        alice, bob, n = self.alice, self.bob, self.round
        first = self._write(f"{n}: is there anybody?")
        c = self._write(f"{n}: hello")
        await alice.until(lambda: c in alice.stored, "no check mark")
        alice.again(first, "bob", f"{n}: is there anybody?")  # a retry: never shown twice
        await alice.until(lambda: alice.delivered >= alice.stored[c], "no second check mark")
        bob.send(wire.Read("alice", alice.stored[c]))
        bob.write("alice", f"{n}: who asks?")
        await alice.until(lambda: alice.read >= alice.stored[c], "no blue check marks")

    async def _away(self) -> None:
        """What waits for bob is there, in order, when he comes back."""
        alice, bob = self.alice, self.bob
        await bob.close()
        last = 0
        for number in range(5):
            last = self._write(f"{self.round}: while you were away {number}")
        await alice.until(lambda: last in alice.stored, "no check mark for who is away")
        bob.heard.clear()
        await bob.connect(self.node.ports["native_plain"])
        await alice.until(lambda: alice.delivered >= alice.stored[last], "not delivered later")

    async def _commands(self) -> None:
        alice, bob = self.alice, self.bob
        bob.heard.clear()
        alice.send(wire.Typing("bob", True))
        await bob.until(lambda: _heard(bob, wire.Typing), "does not hear who types")
        alice.heard.clear()
        alice.send(wire.Watch("bob"))
        await alice.until(lambda: _heard(alice, wire.Presence), "does not see who is there")
        alice.send(wire.Block("carol", True))
        await alice.until(lambda: _heard(alice, wire.Block), "cannot block")
        alice.send(wire.Block("carol", False))

    async def _requests(self) -> None:
        """XMPP: requests of every kind, and a message each way."""
        xmpp, n = self.xmpp, self.round
        for type_, to, child in (
            ("get", "", "<query xmlns='jabber:iq:roster'/>"),
            ("get", "localhost", "<query xmlns='http://jabber.org/protocol/disco#info'/>"),
            ("get", "localhost", "<query xmlns='http://jabber.org/protocol/disco#items'/>"),
            ("get", "localhost", "<ping xmlns='urn:xmpp:ping'/>"),
            ("get", "localhost", "<query xmlns='jabber:iq:version'/>"),
            ("get", "localhost", "<time xmlns='urn:xmpp:time'/>"),
            ("get", "", "<blocklist xmlns='urn:xmpp:blocking'/>"),
            ("set", "", f"<vCard xmlns='vcard-temp'><FN>Carol {n}</FN></vCard>"),
            ("get", "", "<vCard xmlns='vcard-temp'/>"),
            ("set", "", "<enable xmlns='urn:xmpp:carbons:2'/>"),
            (
                "set",
                "",
                "<query xmlns='jabber:iq:roster'><item jid='bob@localhost' name='Bob'/></query>",
            ),
        ):
            await xmpp.ask(type_, to, child)
        self._written.append(f"{n}: by xmpp")
        xmpp.send(
            f"<message type='chat' to='bob@localhost' id='m{n}'><body>{n}: by xmpp</body></message>"
        )
        bob = self.bob
        await bob.until(lambda: f"{n}: by xmpp" in bob.shown, "hears nothing by XMPP")
        bob.write("carol", f"{n}: back to you")
        await xmpp.until(f"<body>{n}: back to you</body>", "the answer of bob")

    async def _sign_up(self) -> None:
        """The desk: a wrong PIN is none, a right one is good once."""
        ask = self.node.asking.ask
        number = f"{NUMBER[:-1]}{self.round}"
        right, wrong = key_hash("12345"), key_hash("54321")
        asked = await ask(ACTOR_DESK, lambda n: RequestPin(number, "+49", HOST, "12345", right, n))
        if not isinstance(asked, PinRequested) or asked.code:
            raise Unanswered("the desk sends no PIN")
        for pin, good in ((wrong, False), (right, True), (right, False)):
            answer = await ask(
                ACTOR_DESK,
                lambda n, p=pin: VerifyPin(number, HOST, p, key_hash("k"), "phone", n),  # type: ignore[misc]
            )
            if not isinstance(answer, Registered if good else PinRefused):
                raise Unanswered("the desk takes a wrong PIN or refuses the right one")

    async def close(self) -> None:
        await self.alice.close()
        await self.bob.close()
        self.xmpp.close()


def _heard(phone: Phone, kind: type) -> bool:
    return any(isinstance(message, kind) for message in phone.heard)


def config_of(folder: Path) -> Config:
    listen = Listen(
        host=HOST,
        native=-1,
        native_plain=0,
        https=-1,
        http=-1,
        xmpp=-1,
        xmpp_tls=-1,
        xmpp_component=-1,
        xmpp_plain=0,
        plain_host=HOST,
    )
    sms = Sms(sender="file", options={"path": str(folder / "pins")})
    return Config(listen=listen, sms=sms)


Look = Callable[[str, object], None]  # (which version, a state)


async def talk(
    folder: Path,
    change: Callable[[Node, str], Awaitable[None]],
    order: Sequence[str],
    look: Look,
) -> str:
    """What went wrong, or "". change(node, version): puts a version in place."""
    node = Node(config_of(folder), folder)
    await node.start()
    over = asyncio.Event()
    raised = _listen(node, over)
    talk = Talk(node, over)
    patience = node.loop.call_later(PATIENCE_S * len(order), over.set)
    which = order[0]
    try:
        await talk.begin()
        for which in order:
            await change(node, which)
            await talk.go_on()
            for cell in list(node.engine.cells.values()):
                if cell.state is not None and (isinstance(cell.state, Desk) or cell.key):
                    look(which, cell.state)
            if raised:
                return f"{which} rules: {raised[0]}"
    except Unanswered as error:
        return f"{which} rules: {raised[0] if raised else error}"
    finally:
        patience.cancel()
        await talk.close()
        await node.stop()
    return ""


async def _patiently(waited: Coroutine[Any, Any, T]) -> T | None:
    """What comes within a moment, or None."""
    try:
        async with asyncio.timeout(LOOK_S):
            return await waited
    except TimeoutError:
        return None


def _listen(node: Node, over: asyncio.Event) -> list[str]:
    """What rules raise while they talk: "Submit: KeyError in submit.py line 12"."""
    raised: list[str] = []
    told = node.host.crashed

    def crashed(key: int, message: Any, error: BaseException) -> None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename.rpartition('/')[2]} line {frame.lineno}"
        raised.append(f"{type(message).__name__}: {type(error).__name__} in {where}")
        over.set()
        told(key, message, error)

    node.host.crashed = crashed  # type: ignore[method-assign]
    return raised


def used(behaviours: list[Behaviour], features: tuple[Any, ...]) -> Callable[[Node], None]:
    def use(node: Node) -> None:
        node.behaviours.use(behaviours)
        node.hub.use_features(features)

    return use
