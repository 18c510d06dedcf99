"""`whimbrel serve --demo`: two accounts that answer, so that a first visitor has company.

`wren` guides, `echo` says the same again. They are ordinary clients (whimbrel.client) over the
real port, in this process; their keys lie in the data folder, so they stay the same after a
restart. Law: an account that somebody else made is left alone; nobody is written to unasked.
"""

import asyncio
import contextlib
import hashlib
import io
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from PIL import Image, ImageDraw

from whimbrel.client import Client, Content, Ended, Incoming, Pinned, Undelivered
from whimbrel.domain.answers import Description, Registered
from whimbrel.domain.errors import Refused, Unready
from whimbrel.domain.ids import account_number
from whimbrel.domain.messages import Describe, Register
from whimbrel.node.assemble import Node
from whimbrel.node.secret_files import write_private
from whimbrel.protocol.wire import Media as MediaContent

log = structlog.get_logger("whimbrel.demo")

FILE = "demo.json"
NAMES = ("wren", "echo")
ASK_S = 10.0
THINKS_S = 0.8  # typing is shown for so long

HELLO = (
    "Hello! I am Wren, a demo account on this very server. One check: your message is on its"
    " disk. Two checks: it is on my device. Blue: I have read it.\n\nAsk me about: marks, offline,"
    " photo, code. Or send me a picture."
)
ANSWERS = (
    (
        ("mark", "check", "tick"),
        "A check is a promise here. One check is shown after the message was committed to disk"
        " with fsync; a power cut cannot take it back. Two checks mean that my device has"
        " confirmed it, and then the server wipes the text.",
    ),
    (
        ("offline", "plane", "tunnel"),
        "Try it: stop the server with Ctrl-C, write me something, and start it again. Your message"
        " waits in this browser with a clock, and goes out when the server is back. Once.",
    ),
    (
        ("code", "protocol", "api", "bot"),
        "I am a Python program of a page or two (src/whimbrel/node/demo.py) on the client library"
        " that comes with the server. The protocol is in docs/protocol.md.",
    ),
    (("thank", "bye"), "You are welcome. Write to `echo` too, it always agrees."),
    (("hello", "hi ", "hey", "hallo"), HELLO),
)
OTHERWISE = (
    "I am a small bird and know few words: marks, offline, photo, code.",
    "Interesting! Did you see the two checks turn blue? I can also send a photo.",
    "Open this page in a second window with another number, and talk to yourself.",
)


class Demo:
    """start() returns when both are signed in; stop() lets them say goodbye."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.tasks: list[asyncio.Task[None]] = []
        self.said: dict[str, int] = {}  # answers to each visitor

    async def start(self) -> None:
        port = self.node.ports.get("native")
        if port is None:
            log.warning("--demo needs the own protocol's port (listen.native)")
            return
        file = self.node.folder / FILE
        keys = _read(file)
        for name in NAMES:
            key = keys.get(name) or await self._register(name)
            if not key:
                log.warning("the demo leaves an account alone that it has not made", account=name)
                continue
            keys[name] = key
            online: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.tasks.append(asyncio.create_task(self._live(name, key, port, online)))
            await asyncio.wait_for(online, ASK_S)
            self.node.company.append(name)
        write_private(file, json.dumps(keys))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _register(self, name: str) -> str:
        """A new account's key; "" if the name is taken."""
        number, ask = account_number(name), self.node.asking.ask
        known = await ask(number, Describe, ASK_S)
        if isinstance(known, Description) and known.exists:
            return ""
        key = secrets.token_urlsafe(32)
        hashed = hashlib.sha256(key.encode()).digest()
        kept = self.node.keep(name, key)
        answer = await ask(number, lambda reply: Register(name, hashed, "demo", reply, kept), ASK_S)
        return f"{answer.device}:{key}" if isinstance(answer, Registered) else ""

    async def _live(self, name: str, saved: str, port: int, online: asyncio.Future[None]) -> None:
        device, _, key = saved.partition(":")
        host = self.node.config.listen.host
        host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
        trust = Pinned(self.node.certificate.fingerprint)
        async with Client(name, int(device), key, host, port, trust=trust, agent="demo") as client:
            await client.online()
            online.set_result(None)
            with contextlib.suppress(Ended):
                async for message in client.messages():
                    await self._answer(client, message)

    async def _answer(self, client: Client, message: Incoming) -> None:
        client.read(message.sender, message.id)
        client.typing(message.sender, True)
        await asyncio.sleep(THINKS_S)
        content = message.content
        if client.account == "wren":
            content = await self._wise(message.sender, content)
        with contextlib.suppress(Undelivered):
            await client.send(message.sender, content.text, content)

    async def _wise(self, visitor: str, content: Content) -> Content:
        count = self.said[visitor] = self.said.get(visitor, 0) + 1
        if len(self.said) > 10_000:
            self.said.clear()
        if content.media is not None:
            seen = content.media
            size = f", {seen.width} x {seen.height}" if seen.width and seen.height else ""
            return Content(
                text=f"I got it: {seen.type}{size}, {seen.size:,} bytes. If it had told where it"
                " was taken, the server has removed that."
            )
        text = f"{content.text.lower()} "
        if "photo" in text or "picture" in text:
            return await self._photo()
        for words, answer in ANSWERS:
            if any(word in text for word in words):
                return Content(text=answer)
        return Content(text=HELLO if count == 1 else OTHERWISE[count % len(OTHERWISE)])

    async def _photo(self) -> Content:
        """By the way of all files: a slot, the bytes, and what the server found."""
        media, picture = self.node.media, bridge()
        if media is None:
            return Content(text="Files are switched off on this server.")
        try:
            owner = account_number("wren")
            slot = await media.slot(owner, "bridge.png", len(picture), "image/png", "", 1)
            await media.receive(slot.token, 0, len(picture), _once(picture))
            link, facts = await media.done(slot.token)
        except (Refused, Unready) as error:
            return Content(text=f"The server takes no photo just now: {error}")
        found = MediaContent(
            link=link,
            size=facts.size,
            type=facts.type,
            name=facts.name,
            sha256=facts.sha256,
            width=facts.width or None,
            height=facts.height or None,
            thumbnail=facts.thumbnail or None,
            blur=facts.blur or None,
        )
        return Content(text="The bridge, a minute before the monster.", media=found)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _read(file: Path) -> dict[str, str]:
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError):
        return {}


def bridge(width: int = 1_200, height: int = 800) -> bytes:
    """A bridge at sunset, drawn here: a PNG."""
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for y in range(height):
        part = y / height
        tone = (int(250 - 110 * part), int(175 - 65 * part), int(125 + 65 * part))
        draw.line([(0, y), (width, y)], fill=tone)
    red, deck = (186, 62, 44), int(height * 0.62)
    sun = int(width * 0.63), int(height * 0.2)
    draw.ellipse([*sun, sun[0] + 150, sun[1] + 150], fill=(255, 238, 196))
    for step in range(61):
        x = step / 60
        top = 0.3 + 1.25 * (x - 0.475) ** 2
        draw.line([(width * x, height * top), (width * x, deck)], fill=red, width=2)
    curve = [(width * n / 60, height * (0.3 + 1.25 * (n / 60 - 0.475) ** 2)) for n in range(61)]
    draw.line(curve, fill=red, width=6)
    for x in (0.24, 0.71):
        draw.rectangle([width * x - 13, height * 0.22, width * x + 13, height * 0.88], fill=red)
    draw.rectangle([0, deck, width, deck + 26], fill=red)
    draw.rectangle([0, height * 0.82, width, height], fill=(41, 82, 112))
    into = io.BytesIO()
    image.save(into, "PNG")
    return into.getvalue()
