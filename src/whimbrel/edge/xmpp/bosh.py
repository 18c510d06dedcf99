"""XMPP over HTTP requests (BOSH, XEP-0124 and XEP-0206): where nothing else gets through.

A request waits here until there is something to say, and one that was lost is answered again with
the very same bytes. Law: requests count in the order of their numbers, each once, however they
arrive. What is not read stays in the session, as on every other connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar

from whimbrel.domain.errors import BadMessage, Busy
from whimbrel.edge.xmpp.framed import FramedStream
from whimbrel.protocol.xmpp.bosh import XBOSH, BodyReader, body, ended
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.stream import Opened, XmlLimits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from whimbrel.edge.listener import Admitted
    from whimbrel.edge.xmpp.hub import Hub

HOLD = 1  # requests that wait
REQUESTS = 2  # that a client may have open
WAIT_MAX_S = 60
INACTIVITY_S = 60
PAUSE_MAX_S = 120
BODY_EXTRA_BYTES = 65_536  # stanzas beside the biggest one
_CONDITIONS = {
    "host-unknown": "host-unknown",
    "system-shutdown": "system-shutdown",
    "policy-violation": "policy-violation",
}


class _Request:
    __slots__ = ("answer", "reader", "since_s", "tag")

    def __init__(
        self,
        tag: dict[str, str],
        reader: BodyReader,
        answer: asyncio.Future[bytes],
        since_s: float,
    ) -> None:
        self.tag = tag
        self.reader = reader
        self.answer = answer
        self.since_s = since_s


class BoshLink:
    """What a stream takes for its connection: answers to requests that come and go."""

    tls_version = ""  # a login is not bound to one connection of many
    peer_finished = False

    def __init__(self, address: str, out_bytes_max: int, opening: dict[str, str]) -> None:
        self.address = address
        self.stream: BoshStream | None = None
        self.held: OrderedDict[int, _Request] = OrderedDict()  # not answered, in their order
        self.answered: OrderedDict[int, bytes] = OrderedDict()  # the last ones, if they got lost
        self.paused = False
        self.condition: str | None = None  # of the end, once there is one
        self._opening = opening
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._out_bytes_max = out_bytes_max
        self._closed = False
        self.handled = 0  # the last request that was read
        self.acks = False
        self.forget: Callable[[], object] = lambda: None

    # ---- what a stream uses --------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)

    def flush(self) -> None:
        if self._out and self.held:
            self.answer()

    @property
    def unsent_bytes(self) -> int:
        return self._out_bytes

    @property
    def has_unsent(self) -> bool:
        return self._out_bytes > 0

    @property
    def is_slow(self) -> bool:
        return self._out_bytes > self._out_bytes_max

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self.settle()

    def start_tls(self, context: ssl.SSLContext) -> None:
        raise AssertionError("there is no STARTTLS in HTTP")

    def channel_binding(self, kind: str) -> bytes | None:
        return None

    def close(self, code: str = "") -> None:
        self.finish()

    def finish(self) -> None:
        """The last words go with the request that waits, or with the next one."""
        if self.condition is None:
            self.condition = ""
        if self.held:
            self.abort()

    def abort(self) -> None:
        """The end: everybody who waits is told."""
        if self._closed:
            return
        self._closed = True
        if self.condition is None:
            self.condition = "remote-connection-failed"
        while self.held:
            self.answer()
        assert self.stream is not None
        self.forget()
        self.stream.closed()

    # ---- requests ------------------------------------------------------------------------

    def answer(self) -> None:
        """The oldest request gets what there is to say."""
        rid, request = self.held.popitem(last=False)
        inside = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        if self.condition is not None:
            data = ended(self.condition, inside)
        else:
            about, self._opening = self._opening, {}
            if self.acks and self.handled > rid:
                about["ack"] = str(self.handled)
            data = body(about, inside)
        self.answered[rid] = data
        if len(self.answered) > REQUESTS:
            self.answered.popitem(last=False)
        if not request.answer.done():
            request.answer.set_result(data)

    def settle(self) -> None:
        """No more wait than were agreed on."""
        while len(self.held) > HOLD and not self.paused:
            self.answer()


class BoshStream(FramedStream):
    front: ClassVar[str] = "bosh"
    __slots__ = ("_ahead", "_asleep_s", "_inactive_s", "_key", "_rid", "_wait_s", "bosh", "limits")

    def __init__(self, hub: Hub, bosh: BoshLink, rid: int, wait_s: int) -> None:
        super().__init__(hub, bosh, None)
        self.bosh = bosh
        bosh.stream = self
        self.limits = hub.xml_before_login
        self._rid = rid - 1
        self._wait_s = wait_s
        self._ahead: dict[int, _Request] = {}  # arrived before one that comes first
        self._key = ""
        self._inactive_s = float(INACTIVITY_S)
        self._asleep_s = hub.edge.now_s  # when the last request was answered

    def take(self, rid: int, request: _Request) -> None:
        """One request; its answer comes some time. Raises StreamError if it cannot count."""
        link = self.bosh
        self.heard_s = self.hub.edge.now_s
        again = link.answered.get(rid)
        if again is not None:
            request.answer.set_result(again)
            return
        waiting = link.held.get(rid) or self._ahead.get(rid)
        if waiting is not None:  # its connection broke: the new one takes its place
            if not waiting.answer.done():
                waiting.answer.set_result(body({}))
            waiting.answer = request.answer
            return
        if not self._rid < rid <= self._rid + REQUESTS:
            raise StreamError("policy-violation", "no such request")
        self._ahead[rid] = request
        while (ready := self._ahead.pop(self._rid + 1, None)) is not None:
            self._rid += 1
            link.handled = self._rid
            link.held[self._rid] = ready
            self._read(ready)
            if link.condition is not None:
                link.abort()
                return
            link.flush()
            link.settle()
            if not link.held:
                self._asleep_s = self.hub.edge.now_s

    def _read(self, request: _Request) -> None:
        tag = request.tag
        if self.over:
            return
        if not self._key_fits(tag):
            self.bosh.condition = "item-not-found"
            self.fault(StreamError("policy-violation", "a key of the sequence is wrong"))
            self.work()
            return
        try:
            stanzas = request.reader.stanzas(self.limits)
        except StreamError as error:
            self.fault(error)
            stanzas = []
        if tag.get("pause", "").isascii() and tag.get("pause", "").isdigit():
            self._inactive_s = float(min(int(tag["pause"][:6]), PAUSE_MAX_S))
            while self.bosh.held:
                self.bosh.answer()
        else:
            self._inactive_s = float(INACTIVITY_S)
        if "sid" not in tag or tag.get(f"{{{XBOSH}}}restart") in ("true", "1"):
            version = tag.get(f"{{{XBOSH}}}version", "1.0")
            self.take_event(Opened({"to": tag.get("to", ""), "version": version}))
        self.allowance_bytes -= sum(len(stanza.raw) for stanza in stanzas)
        for stanza in stanzas:
            self.take_event(stanza)
        self.work()
        if tag.get("type") == "terminate" and not self.over:
            self._goodbye()

    def _key_fits(self, tag: dict[str, str]) -> bool:
        """XEP-0124 section 15: each key is the hash's origin of the one before."""
        if self._key:
            digest = hashlib.sha1(tag.get("key", "").encode(), usedforsecurity=False).hexdigest()
            if not hmac.compare_digest(digest.encode(), self._key.encode()):
                return False
            self._key = tag["key"]
        if tag.get("newkey"):
            self._key = tag["newkey"]
        return True

    # ---- the stream ----------------------------------------------------------------------

    def new_reader(self, limits: XmlLimits) -> None:
        self.limits = limits

    def raise_limits(self, limits: XmlLimits) -> None:
        self.limits = limits

    def say_header(self) -> None:
        """Stands in the attributes of the first answer."""

    def say_goodbye(self) -> None:
        """Stands in the attributes of the last answer."""

    def fail(self, error: StreamError) -> None:
        if not self.over and self.bosh.condition is None:
            self.bosh.condition = _CONDITIONS.get(error.condition, "remote-stream-error")
        super().fail(error)

    def sweep(self) -> None:
        link, now_s = self.bosh, self.hub.edge.now_s
        held = next(iter(link.held.values()), None)
        if held is None and now_s - self._asleep_s > self._inactive_s:
            link.abort()
            return
        super().sweep()
        if held is not None and now_s - held.since_s >= self._wait_s and link.held:
            link.answer()
        if link.held:
            self._asleep_s = now_s


class Bosh:
    """All sessions over HTTP. `admit`: the listener's door, which counts and refuses."""

    def __init__(
        self, hub: Hub, admit: Callable[[str, Callable[[], Admitted]], Admitted], node: int = 0
    ) -> None:
        """node: its number among others, which every session's name begins with."""
        self._hub = hub
        self._node = node
        self._admit = admit
        self._streams: dict[str, BoshStream] = {}

    @property
    def bytes_max(self) -> int:
        """Of one request's body."""
        return self._hub.xml.stanza_bytes_max + BODY_EXTRA_BYTES

    def away(self, data: bytes) -> int:
        """The node that began this session; -1: this one, or nobody can tell."""
        try:
            sid = BodyReader(data, self._hub.xml_before_login).head().get("sid", "")
        except StreamError:
            return -1
        node = _number(sid.partition(".")[0][:6]) if "." in sid else self._node
        return -1 if node == self._node else node

    def unknown(self) -> bytes:
        """The session is not there, or its node is gone: the client begins anew and loses nothing,
        because what it has not acknowledged is still in its inbox.
        """
        return ended("item-not-found")

    async def answer(self, data: bytes, address: str) -> bytes:
        """What a POST is answered. Raises TooManyConnections, ShuttingDown or BadMessage."""
        reader = BodyReader(data, self._hub.xml_before_login)
        try:
            tag = reader.head()
        except StreamError as error:
            raise BadMessage(error.text or "This is no <body> of XEP-0124.") from None
        rid = _number(tag.get("rid", ""))
        if not rid or rid >= 1 << 53:
            return ended("bad-request")
        sid = tag.get("sid")
        stream = self._begin(rid, tag, address) if sid is None else self._streams.get(sid)
        if stream is None:
            return self.unknown()
        loop = asyncio.get_running_loop()
        request = _Request(tag, reader, loop.create_future(), self._hub.edge.now_s)
        try:
            stream.take(rid, request)
        except StreamError:
            stream.bosh.condition = "item-not-found"
            stream.bosh.abort()
            return ended("item-not-found")
        try:
            async with asyncio.timeout(WAIT_MAX_S + INACTIVITY_S):
                return await request.answer
        except TimeoutError:
            raise Busy(retry_after_s=1) from None

    def _begin(self, rid: int, tag: dict[str, str], address: str) -> BoshStream:
        wait_s = max(1, min(_number(tag.get("wait", "")) or WAIT_MAX_S, WAIT_MAX_S))
        sid = f"{self._node}.{secrets.token_urlsafe(18)}"
        about = {
            "sid": sid,
            "wait": str(wait_s),
            "requests": str(REQUESTS),
            "hold": str(HOLD),
            "inactivity": str(INACTIVITY_S),
            "maxpause": str(PAUSE_MAX_S),
            "polling": "0",
            "ver": "1.11",
            "from": self._hub.domain,
            "xmpp:version": "1.0",
            "xmpp:restartlogic": "true",
        }
        link = BoshLink(address, self._hub.edge.limits.out_buffer_bytes_max, about)
        if tag.get("ack"):
            link.acks = True
            about["ack"] = str(rid)
        stream = self._admit(address, lambda: BoshStream(self._hub, link, rid, wait_s))
        assert isinstance(stream, BoshStream)
        self._streams[sid] = stream
        link.forget = lambda: self._streams.pop(sid, None)
        return stream

    def shut_down(self) -> None:
        """Every request that waits is told, and answered."""
        for stream in list(self._streams.values()):
            stream.shut_down(None)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 17 else 0
