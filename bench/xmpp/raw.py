"""A raw XMPP client for load: no parser, no task; it looks for the few words that it waits for.

Because the generator shares two cores with the server it measures. It is the same client for every
server: TLS from the first byte, SCRAM-SHA-1 (or PLAIN, where only the chat is measured).
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
import ssl
from collections.abc import Callable
from typing import Any, cast

ACK = re.compile(rb"<a [^>]*h=['\"](\d+)")
CHALLENGE = re.compile(rb"<challenge[^>]*>([^<]+)<")
STREAM = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='localhost' version='1.0'"
    " xmlns:stream='http://etherx.jabber.org/streams'>"
)
SM = "urn:xmpp:sm:3"
ANSWER = b"<a xmlns='urn:xmpp:sm:3' h='%d'/>"
REQUEST = b"<r xmlns='urn:xmpp:sm:3'/>"
PING_ID = re.compile(rb"<iq[^>]*id=['\"](whimbrel-ping-[^'\"]+)['\"]")

OnData = Callable[["XmppRaw", bytes], None]
_salted: dict[tuple[str, bytes, int], bytes] = {}


def client_context() -> ssl.SSLContext:
    """Bench only: the server is our own child on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class XmppRaw(asyncio.Protocol):
    """`on_data(client, data)` gets whole stanzas only."""

    def __init__(
        self,
        name: str,
        password: str,
        context: ssl.SSLContext | None,
        on_data: OnData,
        *,
        scram: bool = False,
        managed: bool = True,
        present: bool = True,
        register: bool = False,
    ) -> None:
        self.name = name
        self.password = password
        self.on_data = on_data
        self.scram = scram
        self.managed = managed
        self.present = present
        self.register = register
        self.loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self.loop.create_future()
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self.jid = ""
        self.state: Any = None
        self.h = 0  # stanzas of the server that were counted
        self.out: list[bytes] = []
        self._step = self._on_features
        self._buffer = b""
        self._nonce = ""
        self._bare = ""
        self._final = b""
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._greeted = context is None
        if context is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=None)

    # ---- asyncio -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._tls is None:
            self.send(STREAM)
            self.flush()
        else:
            self._handshake()

    def _handshake(self) -> bool:
        assert self._tls is not None
        assert self._transport is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._transport.write(self._outgoing.read())
            return False
        self._greeted = True
        self.send(STREAM)
        self.flush()
        return True

    def data_received(self, data: bytes) -> None:
        if self._tls is not None:
            self._incoming.write(data)
            if not self._greeted and not self._handshake():
                return
            parts = []
            while self._incoming.pending or self._tls.pending():
                try:
                    part = self._tls.read(65_536)
                except ssl.SSLWantReadError:
                    break
                if not part:
                    break
                parts.append(part)
            data = b"".join(parts)
        if data:
            data = self._buffer + data if self._buffer else data
            self._buffer = self._step(data)
            self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ready.done():
            said = self._buffer[-300:].decode(errors="replace")
            step = self._step.__name__
            self.ready.set_exception(ConnectionError(f"{self.name}: closed in {step}: {said}"))
        if not self.closed.done():
            self.closed.set_result(None)

    # ---- logging in ----------------------------------------------------------------------

    def _refused(self, data: bytes) -> None:
        if not self.ready.done():
            said = data[-300:].decode(errors="replace")
            self.ready.set_exception(ConnectionError(f"{self.name}: {said}"))

    def _on_features(self, data: bytes) -> bytes:
        if b"</stream:features>" not in data:
            return data
        if self.register:
            self._step = self._on_registered
            self.send(
                "<iq type='set' id='reg'><query xmlns='jabber:iq:register'>"
                f"<username>{self.name}</username><password>{self.password}</password>"
                "</query></iq>"
            )
        elif self.scram:
            self._nonce = secrets.token_urlsafe(12)
            self._bare = f"n={self.name},r={self._nonce}"
            first = base64.b64encode(f"n,,{self._bare}".encode()).decode()
            self._step = self._on_challenge
            self._auth("SCRAM-SHA-1", first)
        else:
            text = base64.b64encode(f"\0{self.name}\0{self.password}".encode()).decode()
            self._step = self._on_success
            self._auth("PLAIN", text)
        return b""

    def _auth(self, mechanism: str, text: str) -> None:
        self.send(
            f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{text}</auth>"
        )

    def _on_registered(self, data: bytes) -> bytes:
        if (b"result" in data and b"</iq>" in data) or (b"result" in data and b"/>" in data):
            self.ready.set_result(None)
        elif b"</iq>" in data or b"error" in data:
            self._refused(data)
        return b""

    def _on_challenge(self, data: bytes) -> bytes:
        found = CHALLENGE.search(data)
        if found is None:
            if b"failure" in data:
                self._refused(data)
            return data
        first = base64.b64decode(found[1]).decode()
        said = dict(part.split("=", 1) for part in first.split(","))
        key = (self.password, base64.b64decode(said["s"]), int(said["i"]))
        salted = _salted.get(key)
        if salted is None:
            salted = hashlib.pbkdf2_hmac("sha1", key[0].encode(), key[1], key[2])
            _salted[key] = salted
        client_key = hmac.digest(salted, b"Client Key", "sha1")
        last = f"c=biws,r={said['r']}"
        signed = f"{self._bare},{first},{last}".encode()
        signature = hmac.digest(hashlib.sha1(client_key).digest(), signed, "sha1")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        text = f"{last},p={base64.b64encode(proof).decode()}"
        self._step = self._on_success
        self.send(
            "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
            f"{base64.b64encode(text.encode()).decode()}</response>"
        )
        return b""

    def _on_success(self, data: bytes) -> bytes:
        if b"<success" not in data:
            if b"failure" in data:
                self._refused(data)
            return data
        self._step = self._on_bind_features
        self.send(STREAM)
        return b""

    def _on_bind_features(self, data: bytes) -> bytes:
        if b"</stream:features>" not in data:
            return data
        self._step = self._on_bound
        self.send(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            "<resource>r</resource></bind></iq>"
        )
        return b""

    def _on_bound(self, data: bytes) -> bytes:
        if b"</iq>" not in data:
            return data
        self.jid = f"{self.name}@localhost/r"
        if not self.managed:
            return self._present()
        self._step = self._on_enabled
        self.send(f"<enable xmlns='{SM}' resume='true'/>")
        return b""

    def _on_enabled(self, data: bytes) -> bytes:
        if b"<enabled" not in data:
            return data
        return self._present()

    def _present(self) -> bytes:
        self._step = self._on_stanzas
        if self.present:
            self.send("<presence/>")
        else:
            self.ready.set_result(None)
        return b""

    def _on_stanzas(self, data: bytes) -> bytes:
        """Whole elements of the first level end with ">"; half ones wait."""
        if not data.endswith(b">") or _is_open(data):
            return data
        if self.managed:
            self.h += data.count(b"<message") + data.count(b"<presence") + data.count(b"<iq ")
        if not self.ready.done() and b"<presence" in data:
            self.ready.set_result(None)
        self.on_data(self, data)
        if self.managed:
            if b"<r " in data or b"<r>" in data:
                self.out.append(ANSWER % self.h)
        elif b"whimbrel-ping-" in data:
            for id in PING_ID.findall(data):
                self.out.append(b"<iq type='result' id='%s' to='localhost'/>" % id)
        return b""

    # ---- bytes ---------------------------------------------------------------------------

    def send(self, text: str) -> None:
        self.out.append(text.encode())

    def flush(self) -> None:
        if not self.out or self._transport is None or not self._greeted:
            return
        data = b"".join(self.out)
        self.out.clear()
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _is_open(data: bytes) -> bool:
    """Does it end inside a message? Our messages hold no further <message>."""
    return data.count(b"<message ") != data.count(b"</message>")


async def connect(client: XmppRaw, port: int, timeout_s: float = 60.0) -> XmppRaw:
    await client.loop.create_connection(lambda: client, "127.0.0.1", port)
    await asyncio.wait_for(asyncio.shield(client.ready), timeout_s)
    return client
