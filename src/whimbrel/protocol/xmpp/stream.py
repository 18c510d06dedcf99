"""Reading XMPP: bytes in any split become a stream's opening, whole stanzas, and its end.

RFC 6120 sections 4 and 11; RFC 7395 for WebSocket, where every frame is one element. Built on
expat. A stanza keeps the very bytes it came in, so that one which only passes through is not
written again; `portable` makes them mean the same in another stream. A message is read two levels
deep only (its children and their texts), everything else whole.

Law: any bytes in any split give the same events, then at most one StreamError, never another
exception; no more than the limits say is kept or looked at.
"""

import re
from typing import Any
from xml.parsers import expat

import msgspec

from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.errors import StreamError
from whimbrel.protocol.xmpp.names import CLIENT, COMPONENT, FRAMING, STREAMS
from whimbrel.protocol.xmpp.plain import read_plain

_SEPARATOR = " "  # cannot stand in a name, and expat refuses namespaces that hold it
_TAG = re.compile(rb"<[^>\"']*(?:\"[^\"]*\"[^>\"']*|'[^']*'[^>\"']*)*>")
_COMPONENT_NS = re.compile(rb"\sxmlns\s*=\s*(['\"])jabber:component:accept\1")
_NAME_END = re.compile(rb"[\s/>]")
_CODES = expat.errors.codes
_RESTRICTED = {_CODES[expat.errors.XML_ERROR_UNDEFINED_ENTITY]}
_PREFIX = {
    _CODES[expat.errors.XML_ERROR_UNBOUND_PREFIX],
    _CODES[expat.errors.XML_ERROR_UNDECLARING_PREFIX],
}
_ENCODING = {
    _CODES[expat.errors.XML_ERROR_UNKNOWN_ENCODING],
    _CODES[expat.errors.XML_ERROR_INCORRECT_ENCODING],
}
TAG_BYTES_MAX = 512  # of a header that is kept
SHALLOW = "message"  # read two levels deep


class XmlLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one stanza (and of the header), levels of elements in it, attributes of one."""

    stanza_bytes_max: int = 262_144
    depth_max: int = 64
    attributes_max: int = 64
    children_max: int = 10_000  # elements in one stanza


class Opened(msgspec.Struct, frozen=True):
    """The header: attributes as they came (to, from, version, xml:lang ...)."""

    attributes: dict[str, str]


class Closed(msgspec.Struct, frozen=True):
    """The other side has ended its stream."""


class Stanza:
    """A first-level element. `raw`: the bytes it came in. `inner`: what stands between its tags, if
    that means the same in any stream of jabber:client; None: it has to be looked at.
    """

    __slots__ = ("element", "inner", "raw")

    def __init__(self, element: Element, raw: bytes, inner: str | None = None) -> None:
        self.element = element
        self.raw = raw
        self.inner = inner


Event = Opened | Stanza | Closed


class StreamReader:
    """One stream over TCP. After a StreamError nothing more may be fed."""

    _shallow = SHALLOW
    _default = CLIENT

    def __init__(self, limits: XmlLimits) -> None:
        self.limits = limits
        self.prefixes: dict[str, str] = {}  # that the header declares, without the default
        self._events: list[Event] = []
        self._base = 1  # the depth of stanzas
        self._depth = 0
        self._count = 0  # elements of the stanza at hand
        self._stack: list[Element] = []
        self._building = 0  # levels that are built of the stanza at hand
        self._kept = bytearray()  # from the stanza at hand, or what is not parsed yet
        self._kept_at = 0  # position of its first byte in the stream
        self._start = -1  # position of the stanza at hand
        self._fed = 0
        self._tag = b""  # the header's own, to begin again with
        self._plain = False  # the header declares jabber:client: plain.py may read
        self._parser: Any = None  # made when there is something to read

    def _made(self) -> Any:
        parser = expat.ParserCreate("UTF-8", _SEPARATOR)
        # Not parser.buffer_text: text would be told late, and another refusal before it.
        if hasattr(parser, "SetReparseDeferralEnabled"):
            parser.SetReparseDeferralEnabled(False)  # a stanza is there when its last byte is
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        parser.CharacterDataHandler = self._on_text
        parser.StartNamespaceDeclHandler = self._on_namespace
        parser.XmlDeclHandler = self._on_declaration
        for handler in (
            "StartDoctypeDeclHandler",
            "EntityDeclHandler",
            "CommentHandler",
            "ProcessingInstructionHandler",
        ):
            setattr(parser, handler, _restricted)
        return parser

    @property
    def pending(self) -> int:
        """Bytes of a stanza (or of a header) that is not whole yet."""
        return self._fed - (self._start if self._start >= 0 else self._kept_at)

    def feed(self, data: bytes) -> list[Event]:
        """What has become whole. Raises StreamError; events before it are in `events`.

        Never more is parsed at once than the stanza at hand may still have, so that a refusal does
        not depend on how the bytes were split.
        """
        if self._plain and self._start < 0 and self._fed == self._kept_at:
            data = self._read_plain(data)
            if not data:
                return self.events
        room = self.limits.stanza_bytes_max + 1 - self.pending
        while len(data) > room:
            self._parse(data[:room])
            data = data[room:]
            room = self.limits.stanza_bytes_max + 1 - self.pending
        self._parse(data)
        return self.events

    def _read_plain(self, data: bytes) -> bytes:
        """Take the plain stanzas that `data` begins with; what is left is for the parser, which
        need not know of them.
        """
        if self._depth != self._base:
            return data
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return data
        limits = self.limits
        at, end = 0, len(text)
        narrow = end == len(data)
        while at < end:
            if text[at] in " \t\r\n":
                at += 1
                continue
            plain = read_plain(text, at, limits.attributes_max, limits.children_max)
            if plain is None:
                break
            raw = data[at : plain.end] if narrow else text[at : plain.end].encode()
            if len(raw) > limits.stanza_bytes_max:
                break
            self._events.append(Stanza(plain.element, raw, plain.inner))
            at = plain.end
        return data[at:] if narrow else text[at:].encode()

    def rest(self) -> None:
        """Between two stanzas of a quiet stream: a third of what its connection costs is its
        parser (12 KiB), which the next byte makes again.
        """
        if self._tag and self._start < 0 and self._depth == self._base and not self.pending:
            self._parser = None
            self._kept = bytearray()

    def _wake(self) -> None:
        self._parser = self._made()
        if self._tag:
            self._depth = self._fed = self._kept_at = 0
            before, self._events = self._events, []
            self._parse(self._tag)
            self._events = before

    def _parse(self, data: bytes) -> None:
        if self._parser is None:
            self._wake()
        self._kept += data
        self._fed += len(data)
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError as error:
            raise self._between(_refusal(error)) from None
        if self._start < 0:
            self._forget(self._parsed())
        if self.pending > self.limits.stanza_bytes_max:
            raise StreamError("policy-violation", "this stanza is too big")

    def _between(self, refusal: StreamError) -> StreamError:
        """expat does not always tell of the text before a fault, if both came at once: whatever
        begins with text between stanzas is refused for that.
        """
        if self._start < 0 and self._depth == self._base:
            left = bytes(self._kept).lstrip(b" \t\r\n")
            char = left[:4].decode(errors="replace")[:1]
            if char >= " " and char not in "<&\ufffd\ufffe\uffff" and left[:3] != b"]]>":
                return StreamError("bad-format", "text between stanzas")
        return refusal

    @property
    def events(self) -> list[Event]:
        """What was whole before a StreamError."""
        events, self._events = self._events, []
        return events

    # ---- called by expat -----------------------------------------------------------------

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        depth, limits = self._depth, self.limits
        if len(attributes) > limits.attributes_max:
            raise StreamError("policy-violation", "too many attributes")
        ns, _, local = name.rpartition(_SEPARATOR)
        if depth <= self._base:
            self._on_header(ns, local, _named(attributes))
            return
        if depth - self._base > limits.depth_max:
            raise StreamError("policy-violation", "elements are nested too deeply")
        self._count += 1
        if self._count > limits.children_max:
            raise StreamError("policy-violation", "too many elements")
        if depth == self._base + 1:
            self._begin(ns, local, attributes)
        elif depth <= self._building:
            element = Element(ns, local, _named(attributes))
            self._stack[-1].nodes.append(element)
            self._stack.append(element)

    def _begin(self, ns: str, local: str, attributes: dict[str, str]) -> None:
        if not ns:
            raise StreamError("invalid-namespace", "jabber:client was not declared")
        self._start = self._parser.CurrentByteIndex
        self._forget(self._start)
        self._count = 1
        shallow = local == self._shallow and ns == CLIENT
        self._building = self._depth + (1 if shallow else self.limits.depth_max)
        self._stack = [Element(ns, local, _named(attributes))]

    def _on_end(self, name: str) -> None:
        depth = self._depth
        self._depth -= 1
        if depth <= self._base:
            self._events.append(Closed())
        elif depth == self._base + 1:
            end = self._stanza_end(self._parser.CurrentByteIndex - self._kept_at)
            self._events.append(Stanza(self._stack[0], bytes(self._kept[:end])))
            self._forget(self._kept_at + end)
            self._stack = []
            self._start = -1
        elif depth <= self._building:
            self._stack.pop()

    def _stanza_end(self, at: int) -> int:
        """expat tells where the end tag begins, or where an empty element's only tag has ended."""
        kept = self._kept
        if kept[at - 2 : at] == b"/>":
            only = _TAG.match(kept)
            if only is not None and only.end() == at:
                return at
        found = _TAG.match(kept, at)
        assert found is not None
        return found.end()

    def _on_text(self, text: str) -> None:
        if self._depth > self._base:
            if self._depth <= self._building:
                self._stack[-1].nodes.append(text)
        elif text.strip(" \t\r\n"):
            raise StreamError("bad-format", "text between stanzas")

    def _on_namespace(self, prefix: str | None, uri: str | None) -> None:
        if self._depth < self._base:
            if prefix is None:
                if uri not in (None, "", self._default):
                    text = f"the default namespace is {self._default}"
                    raise StreamError("invalid-namespace", text)
                self._plain = uri == CLIENT
            else:
                self.prefixes[prefix] = uri or ""

    def _on_declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if version != "1.0":
            raise StreamError("not-well-formed", "XML 1.0 is spoken here")
        if encoding is not None and encoding.upper() not in ("UTF-8", "UTF8"):
            raise StreamError("unsupported-encoding", "UTF-8 is spoken here")

    def _on_header(self, ns: str, local: str, attributes: dict[str, str]) -> None:
        if ns != STREAMS:
            raise StreamError("invalid-namespace", "the stream's own namespace is missing")
        if local != "stream":
            raise StreamError("bad-format", "a stream begins with <stream>")
        self._events.append(Opened(attributes))
        start = self._parser.CurrentByteIndex
        found = _TAG.match(self._kept, start - self._kept_at)
        assert found is not None
        if len(found.group()) <= TAG_BYTES_MAX:
            self._tag = found.group()
        self._forget(self._kept_at + found.end())

    # ---- bytes ---------------------------------------------------------------------------

    def _parsed(self) -> int:
        """Where the first byte stands that expat has not made an event of."""
        at: int = self._parser.CurrentByteIndex
        return max(self._kept_at, min(at, self._fed))

    def _forget(self, before: int) -> None:
        gone = before - self._kept_at
        if gone > 0:
            del self._kept[:gone]
            self._kept_at = before


class ComponentReader(StreamReader):
    """A component's stream (XEP-0114): what it says in its own namespace counts as
    jabber:client.
    """

    _default = COMPONENT

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        ns, _, local = name.rpartition(_SEPARATOR)
        super()._on_start(f"{CLIENT}{_SEPARATOR}{local}" if ns == COMPONENT else name, attributes)

    def _on_end(self, name: str) -> None:
        super()._on_end(name)
        last = self._events[-1] if self._events else None
        if self._depth == self._base and isinstance(last, Stanza):
            tag = _TAG.match(last.raw)
            if tag is not None and _COMPONENT_NS.search(tag.group()):
                raw = _COMPONENT_NS.sub(b"", tag.group()) + last.raw[tag.end() :]
                self._events[-1] = Stanza(last.element, raw)


class _Frame(StreamReader):
    """One whole element, without a stream around it."""

    def __init__(self, limits: XmlLimits) -> None:
        super().__init__(limits)
        self._base = 0

    def whole(self, data: bytes) -> Stanza:
        self._wake()
        self._kept += data
        self._fed = len(data)
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            raise _refusal(error) from None
        (stanza,) = self.events
        assert isinstance(stanza, Stanza)
        return stanza

    def _on_text(self, text: str) -> None:
        if self._stack:
            super()._on_text(text)

    def _on_namespace(self, prefix: str | None, uri: str | None) -> None:
        """The element's own: they stand in its bytes."""


class _Whole(_Frame):
    """Read to every depth, messages too."""

    _shallow = ""


def read_whole(raw: bytes, prefixes: dict[str, str], limits: XmlLimits) -> Element:
    """A stanza that was read before, as a whole tree. `prefixes`: of its stream's header."""
    return _Whole(limits).whole(_rooted(portable(raw, prefixes))).element


def _rooted(raw: bytes) -> bytes:
    """A stanza that stood in a stream of jabber:client, by itself."""
    tag = _TAG.match(raw)
    name = _NAME_END.search(raw, 1)
    assert tag is not None
    assert name is not None
    added = b"" if re.search(rb"\sxmlns\s*=", tag.group()) else b" xmlns='jabber:client'"
    if b"stream:" in raw and not re.search(rb"\sxmlns:stream\s*=", tag.group()):
        added += b" xmlns:stream='" + STREAMS.encode() + b"'"
    return raw[: name.start()] + added + raw[name.start() :]


def read_frame(data: bytes, limits: XmlLimits) -> Event:
    """RFC 7395 section 3.3: a text message is exactly one element. Raises StreamError."""
    if not data.startswith(b"<"):
        raise StreamError("bad-format", "a frame begins with <")
    if len(data) > limits.stanza_bytes_max:
        raise StreamError("policy-violation", "this stanza is too big")
    stanza = _Frame(limits).whole(data)
    element = stanza.element
    if element.ns == FRAMING and element.name == "open":
        return Opened(element.attributes)
    if element.ns == FRAMING and element.name == "close":
        return Closed()
    if element.ns == STREAMS and element.name == "stream":
        raise StreamError("invalid-namespace", "a stream over WebSocket begins with <open>")
    return stanza


def _named(attributes: dict[str, str]) -> dict[str, str]:
    """expat's "uri name" as "{uri}name"; most have no namespace."""
    for name in attributes:
        if _SEPARATOR in name:
            break
    else:
        return attributes
    named = {}
    for name, value in attributes.items():
        uri, separator, local = name.rpartition(_SEPARATOR)
        named[f"{{{uri}}}{local}" if separator else name] = value
    return named


def _restricted(*_: object) -> None:
    raise StreamError("restricted-xml", "no comments, processing instructions or declarations")


def _refusal(error: expat.ExpatError) -> StreamError:
    if error.code in _RESTRICTED:
        return StreamError("restricted-xml", "only the five entities of XML are known")
    if error.code in _PREFIX:
        return StreamError("bad-namespace-prefix")
    if error.code in _ENCODING:
        return StreamError("unsupported-encoding", "UTF-8 is spoken here")
    return StreamError("not-well-formed")


def portable(raw: bytes, prefixes: dict[str, str]) -> bytes:
    """The bytes of a stanza, for a stream whose header declares jabber:client and "stream" only.

    `prefixes`: what the header of the stream it came from declares. Declarations are added to the
    stanza's own tag where they are used and not made there.
    """
    found = _TAG.match(raw)
    name = _NAME_END.search(raw, 1)
    assert found is not None
    assert name is not None
    tag = found.group()
    added = b""
    for prefix, uri in prefixes.items():
        if prefix == "stream" and uri == STREAMS:
            continue
        encoded = prefix.encode()
        declared = re.search(rb"\sxmlns:" + re.escape(encoded) + rb"\s*=", tag)
        if declared is None and encoded + b":" in raw:
            added += b" xmlns:" + encoded + b'="' + _quoted(uri) + b'"'
    return raw[: name.start()] + added + raw[name.start() :] if added else raw


def _quoted(uri: str) -> bytes:
    return uri.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;").encode()
