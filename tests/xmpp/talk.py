"""A bare XMPP client of a few lines for tests: it says what it is told to, and hears elements.

Three transports behind one face: TCP with STARTTLS, TLS from the first byte, WebSocket. The parser
is the library's own reading of a stream (xml.etree's pull parser), not the server's.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
import ssl
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, XMLPullParser

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

CLIENT = "jabber:client"
STREAM = "http://etherx.jabber.org/streams"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
SM = "urn:xmpp:sm:3"
PATIENCE_S = 20.0
TRANSPORTS = ("tcp", "tls", "websocket", "bosh")
HTTP_BIND = "http://jabber.org/protocol/httpbind"
XBOSH = "urn:xmpp:xbosh"


def tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Ended(Exception):
    """The server has closed the connection."""


class Wire(ABC):
    """Bytes or frames to elements. `next()` raises Ended."""

    @abstractmethod
    async def send(self, text: str) -> None: ...

    @abstractmethod
    async def next(self) -> Element: ...

    @abstractmethod
    async def open(self, domain: str) -> Element:
        """The stream's header out; its features come back."""
        ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def abort(self) -> None: ...

    @abstractmethod
    async def hang_up(self) -> None:
        """End the connection in good order."""
        ...


class Tcp(Wire):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.header: dict[str, str] = {}
        self._fresh()

    def _fresh(self) -> None:
        self._parser: Any = XMLPullParser(("start", "end"))
        self._depth = 0
        self._root: Element | None = None
        self._found: list[Element] = []

    async def send(self, text: str) -> None:
        self.writer.write(text.encode())

    async def next(self) -> Element:
        while not self._found:
            async with asyncio.timeout(PATIENCE_S):
                try:
                    data = await self.reader.read(65_536)
                except (ConnectionError, ssl.SSLError):
                    data = b""
            if not data:
                raise Ended
            self._parser.feed(data)
            for event, element in self._parser.read_events():
                if event == "start":
                    self._depth += 1
                    if self._depth == 1:
                        self._root = element
                        self.header = dict(element.attrib)
                else:
                    self._depth -= 1
                    if self._depth == 1:
                        self._found.append(element)
                    elif self._depth == 0:
                        self._found.append(Element("closed"))
        return self._found.pop(0)

    async def open(self, domain: str) -> Element:
        self._fresh()
        await self.send(
            f"<?xml version='1.0'?><stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAM}'"
            f" to='{domain}' version='1.0'>"
        )
        return await self.next()

    async def start_tls(self) -> None:
        await self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        answer = await self.next()
        assert answer.tag.endswith("}proceed"), answer.tag
        await self.writer.start_tls(tls_context())

    async def close(self) -> None:
        await self.send("</stream:stream>")

    def abort(self) -> None:
        self.writer.transport.abort()

    async def hang_up(self) -> None:
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


class Socket(Wire):
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.header: dict[str, str] = {}

    async def send(self, text: str) -> None:
        if text.startswith("<?xml"):
            text = text.partition("?>")[2]
        for stanza in ("<message", "<iq", "<presence"):
            if text.startswith(stanza) and "xmlns='jabber:client'" not in text:
                text = f"{stanza} xmlns='{CLIENT}'" + text[len(stanza) :]
        await self.connection.send(text)

    async def next(self) -> Element:
        async with asyncio.timeout(PATIENCE_S):
            try:
                text = await self.connection.recv()
            except Exception as error:
                raise Ended from error
        element = ElementTree.fromstring(text)
        if element.tag == "{urn:ietf:params:xml:ns:xmpp-framing}close":
            return Element("closed")
        return element

    async def open(self, domain: str) -> Element:
        await self.send(
            f"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{domain}' version='1.0'/>"
        )
        self.header = dict((await self.next()).attrib)
        return await self.next()

    async def close(self) -> None:
        await self.send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")

    def abort(self) -> None:
        self.connection.transport.abort()

    async def hang_up(self) -> None:
        await self.connection.close()


class Bosh(Wire):
    """XEP-0124: one request waits, a second one speaks."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = aiohttp.ClientSession()
        self.rid = secrets.randbelow(1 << 40) + 1
        self.sid = ""
        self.header: dict[str, str] = {}
        self.tag: dict[str, str] = {}  # of the last answer
        self.over = False
        self._domain = ""
        self._waiting: list[str] = []
        self._found: list[Element] = []
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def post(self, inside: str, **more: str) -> Element:
        """One request with the next number; the answer's <body/>."""
        self.rid += 1
        return await self.repeat(self.rid, inside, **more)

    async def repeat(self, rid: int, inside: str, **more: str) -> Element:
        about = {"rid": str(rid), **({"sid": self.sid} if self.sid else {}), **more}
        shown = " ".join(f"{name.replace('__', ':')}='{value}'" for name, value in about.items())
        text = f"<body xmlns='{HTTP_BIND}' xmlns:xmpp='{XBOSH}' {shown}>{inside}</body>"
        headers = {"Content-Type": "text/xml; charset=utf-8"}
        async with self.http.post(self.url, data=text.encode(), headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return ElementTree.fromstring(await answer.text())

    async def open(self, domain: str) -> Element:
        self._domain = domain
        if not self.sid:
            about = {"to": domain, "wait": "10", "hold": "1", "ver": "1.6", "xmpp__version": "1.0"}
            answer = await self.post("", **about)
            self._heard(answer)
            self.header = dict(answer.attrib)
            self.sid = self.header.get("sid", "")
        else:
            self._speak("", xmpp__restart="true", to=domain)
        return await self.next()

    async def send(self, text: str) -> None:
        for stanza in ("<message", "<iq", "<presence"):
            if text.startswith(stanza) and "xmlns='jabber:client'" not in text:
                text = f"{stanza} xmlns='{CLIENT}'" + text[len(stanza) :]
        self._waiting.append(text)
        self._go_on()

    def _go_on(self) -> None:
        if self.sid and not self.over and (len(self._tasks) < (2 if self._waiting else 1)):
            inside, self._waiting = "".join(self._waiting), []
            self._speak(inside)

    def _speak(self, inside: str, **more: str) -> None:
        task = asyncio.ensure_future(self._exchange(inside, more))
        self._tasks.add(task)

    async def _exchange(self, inside: str, more: dict[str, str]) -> None:
        try:
            self._heard(await self.post(inside, **more))
        except (aiohttp.ClientError, AssertionError, RuntimeError):
            self.over = True
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.discard(task)
            self._news.set()
        self._go_on()

    def _heard(self, answer: Element) -> None:
        self.tag = dict(answer.attrib)
        self._found += list(answer)
        if answer.get("type") == "terminate":
            self._found.append(Element("closed"))
            self.over = True

    async def next(self) -> Element:
        async with asyncio.timeout(PATIENCE_S):
            while not self._found:
                if self.over:
                    raise Ended
                self._go_on()
                self._news.clear()
                await self._news.wait()
        return self._found.pop(0)

    async def close(self) -> None:
        self.over = True
        self._heard(await self.post("", type="terminate"))

    def abort(self) -> None:
        self.over = True
        for task in self._tasks:
            task.cancel()
        if not self.http.closed and self.http.connector is not None:
            self.http.connector._close()
        self.http.detach()

    async def hang_up(self) -> None:
        await self.http.close()


async def connected(ports: dict[str, Any], transport: str) -> Wire:
    """A connection in which nothing was said yet (for TCP, TLS was not begun)."""
    if transport == "bosh":
        return Bosh(f"http://127.0.0.1:{ports['http']}/http-bind")
    if transport == "websocket":
        url = f"ws://127.0.0.1:{ports['http']}/xmpp-websocket"
        return Socket(await connect(url, subprotocols=[Subprotocol("xmpp")], compression=None))
    port = ports["xmpp_tls" if transport == "tls" else "xmpp"]
    context = tls_context() if transport == "tls" else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    return Tcp(reader, writer)


class Talker:
    """One logged-in client. Elements that nobody waited for stay in `heard`."""

    def __init__(self, wire: Wire, name: str, domain: str) -> None:
        self.wire = wire
        self.name = name
        self.domain = domain
        self.jid = ""
        self.heard: list[Element] = []
        self.features: Element | None = None
        self._ids = 0
        self.answers_pings = True
        self._asked = asyncio.Event()

    async def asked(self) -> None:
        """Until the server has asked what has arrived, and was told."""
        self._asked.clear()
        while not self._asked.is_set():
            reading = asyncio.ensure_future(self.next())
            waiting = asyncio.ensure_future(self._asked.wait())
            await asyncio.wait((reading, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if reading.done():
                self.heard.append(reading.result())
            else:
                reading.cancel()
                await asyncio.wait((reading,))

    @property
    def bare(self) -> str:
        return f"{self.name}@{self.domain}"

    async def login(self, key: str) -> Element:
        """SCRAM-SHA-256; the features after it come back. Raises LoginRefused."""
        nonce = secrets.token_urlsafe(12)
        bare = f"n={self.name},r={nonce}"
        await self.wire.send(
            f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{_b64('n,,' + bare)}</auth>"
        )
        answer = await self.wire.next()
        if not answer.tag.endswith("}challenge"):
            raise LoginRefused(answer)
        first = base64.b64decode(answer.text or "").decode()
        said = dict(part.split("=", 1) for part in first.split(","))
        salted = hashlib.pbkdf2_hmac(
            "sha256", key.encode(), base64.b64decode(said["s"]), int(said["i"])
        )
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        last = f"c={_b64('n,,')},r={said['r']}"
        signed = f"{bare},{first},{last}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        final = f"{last},p={base64.b64encode(proof).decode()}"
        await self.wire.send(f"<response xmlns='{SASL}'>{_b64(final)}</response>")
        answer = await self.wire.next()
        if not answer.tag.endswith("}success"):
            raise LoginRefused(answer)
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        assert base64.b64decode(answer.text or "") == b"v=" + base64.b64encode(server)
        self.features = await self.wire.open(self.domain)
        return self.features

    async def bind(self, resource: str = "") -> str:
        inside = f"<resource>{resource}</resource>" if resource else ""
        answer = await self.ask(
            "set", f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{inside}</bind>"
        )
        self.jid = answer[0][0].text or ""
        return self.jid

    async def say(self, text: str) -> None:
        await self.wire.send(text)

    async def next(self) -> Element:
        """The next element; the server's own pings are answered, as every client does."""
        while True:
            element = await self.wire.next()
            id = element.get("id", "")
            if not self.answers_pings or not id.startswith("whimbrel-ping-"):
                return element
            await self.say(f"<iq type='result' id='{id}' to='{self.domain}'/>")
            self._asked.set()

    async def ask(self, kind: str, child: str, to: str = "") -> Element:
        """An iq; its answer comes back, whatever comes before it is kept in `heard`."""
        self._ids += 1
        id = f"ask-{self._ids}"
        where = f" to='{to}'" if to else ""
        await self.say(f"<iq type='{kind}' id='{id}'{where}>{child}</iq>")
        while True:
            element = await self.next()
            if element.tag == f"{{{CLIENT}}}iq" and element.get("id") == id:
                return element
            self.heard.append(element)

    async def hear(self, name: str, **attributes: str) -> Element:
        """The next element of this name with these attributes; others are kept."""
        for at, element in enumerate(self.heard):
            if _is(element, name, attributes):
                return self.heard.pop(at)
        while True:
            element = await self.next()
            if _is(element, name, attributes):
                return element
            self.heard.append(element)

    async def message(self) -> tuple[str, str]:
        """(from, body) of the next message that has one."""
        while True:
            element = await self.hear("message")
            body = element.find(f"{{{CLIENT}}}body")
            if body is not None:
                return element.get("from", ""), body.text or ""

    async def quiet(self) -> None:
        """Everything that the server had to say before has been heard: it stands in `heard`."""
        await self.ask("get", "<ping xmlns='urn:xmpp:ping'/>", self.domain)

    async def leave(self) -> None:
        """As a polite client leaves: it reads to the end of the server's stream."""
        await self.wire.close()
        await self.hear("closed")
        await self.wire.hang_up()

    async def enable(self, resume: bool = True) -> Element:
        flag = " resume='true'" if resume else ""
        await self.say(f"<enable xmlns='{SM}'{flag}/>")
        return await self.hear("enabled")


class LoginRefused(Exception):
    def __init__(self, element: Element) -> None:
        self.element = element
        self.condition = element[0].tag.rpartition("}")[2] if len(element) else element.tag
        super().__init__(self.condition)


def _is(element: Element, name: str, attributes: dict[str, str]) -> bool:
    if element.tag.rpartition("}")[2] != name:
        return False
    return all(element.get(key.rstrip("_")) == value for key, value in attributes.items())


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def shown(element: Element) -> str:
    """An element as text, with short prefixes away: for messages of tests."""
    text = ElementTree.tostring(element, encoding="unicode")
    return re.sub(r"ns\d+:", "", text)
