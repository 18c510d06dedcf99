"""Messages: what a <message/> is, how it becomes a body that is stored, and how a body becomes a
<message/> again.

A body from XMPP holds the text for clients of the own protocol, and the stanza's children as they
came, so that nothing is lost between two XMPP clients: corrections, reactions, encrypted payloads.
A body from the own protocol becomes text, a link to its file with a thumbnail (XEP-0066, 0447,
0264), and asks for a marker. Sources: RFC 6121 section 5, XEP-0184, 0333, 0334.
"""

import re
from typing import Any, NamedTuple

import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.protocol.wire import Media
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import LANG, Element, write
from whimbrel.protocol.xmpp.stream import Stanza, XmlLimits, read_whole

# what a message is made of
BODY, CONTENT, ASKS, RECEIVED, DISPLAYED, MARKABLE = 1, 2, 4, 8, 16, 32
STORE, NO_STORE, NO_COPY, PRIVATE, FORGED, COMPOSING, OTHER_STATE = (
    64,
    128,
    256,
    512,
    1024,
    2048,
    4096,
)

_CLIENT = names.CLIENT
_KNOWN: dict[tuple[str, str], int] = {
    (_CLIENT, "body"): BODY,
    (_CLIENT, "thread"): 0,
    (names.RECEIPTS, "request"): ASKS,
    (names.RECEIPTS, "received"): RECEIVED,
    (names.MARKERS, "markable"): MARKABLE,
    (names.MARKERS, "received"): RECEIVED,
    (names.MARKERS, "displayed"): DISPLAYED,
    (names.MARKERS, "acknowledged"): DISPLAYED,
    (names.HINTS, "store"): STORE,
    (names.HINTS, "no-store"): NO_STORE,
    (names.HINTS, "no-permanent-store"): NO_STORE,
    (names.HINTS, "no-copy"): NO_COPY,
    (names.CARBONS, "private"): PRIVATE,
    (names.SIDS, "stanza-id"): FORGED,
    (names.SIDS, "origin-id"): 0,
    (names.CHAT_STATES, "composing"): COMPOSING,
    (names.CHAT_STATES, "active"): OTHER_STATE,
    (names.CHAT_STATES, "paused"): OTHER_STATE,
    (names.CHAT_STATES, "inactive"): OTHER_STATE,
    (names.CHAT_STATES, "gone"): OTHER_STATE,
}
STATES = COMPOSING | OTHER_STATE
_START = re.compile(rb"<[^>\"']*(?:\"[^\"]*\"[^>\"']*|'[^']*'[^>\"']*)*>")
_BETWEEN = re.compile(r"[<>&]")
_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_VALUE = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "'": "&apos;",
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
    }
)
_BAD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_IN_VALUE = re.compile("[&<>'\x00-\x1f\ufffe\uffff]")


class Part(msgspec.Struct, array_like=True, frozen=True):
    """What XMPP clients see of a message: the sender's resource and the addressed one ("": the
    account), type, id, xml:lang, and the children as they came."""

    sender: str
    resource: str
    type: str
    id: str
    lang: str
    inner: str
    flags: int = 0
    __repr__ = discreet


class XmppBody(msgspec.Struct, omit_defaults=True):
    """The fields of a stored body that an XMPP client is shown."""

    text: str = ""
    media: Media | None = None
    xmpp: Part | None = None
    __repr__ = discreet


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(XmppBody).decode


class Found(NamedTuple):
    """What stands in a message: flags, the text of its body, and the ids of receipts."""

    flags: int
    text: str
    received: str
    displayed: str

    def __repr__(self) -> str:
        return discreet(self)


def look(element: Element) -> Found:
    """One walk over the children of a <message/>."""
    flags = 0
    text: str | None = None
    received = displayed = ""
    known = _KNOWN
    for node in element.nodes:
        if type(node) is str:
            continue
        kind = known.get((node.ns, node.name))  # type: ignore[union-attr]
        if kind is None:
            flags |= CONTENT
        elif kind == BODY:
            if text is None or not node.attributes:  # type: ignore[union-attr]
                text = node.text  # type: ignore[union-attr]
            flags |= BODY
        else:
            flags |= kind
            if kind == RECEIVED:
                received = node.get("id")  # type: ignore[union-attr]
            elif kind == DISPLAYED:
                displayed = node.get("id")  # type: ignore[union-attr]
    return Found(flags, text or "", received, displayed)


def is_kept(flags: int, type: str) -> bool:
    """Is this message stored until it is confirmed? Else it is for those who are there now."""
    if flags & STORE:
        return True
    if type not in ("chat", "normal") or flags & NO_STORE:
        return False
    return bool(flags & (BODY | CONTENT))


def inner_of(stanza: Stanza, prefixes: dict[str, str], limits: XmlLimits, forged: bool) -> str:
    """The children as text that means the same inside any stanza of jabber:client.

    forged: it holds ids that only a server may give (XEP-0359 section 4), which are left out.
    """
    if stanza.inner is not None and not forged:
        return stanza.inner
    raw = stanza.raw
    start = _START.match(raw)
    assert start is not None
    tag = start.group()
    if tag.endswith(b"/>"):
        return ""
    inner = raw[start.end() : raw.rindex(b"</")]
    plain = not forged and b"xmlns:" not in tag and b"stream:" not in inner
    if plain and prefixes:
        plain = not any(prefix.encode() + b":" in inner for prefix in prefixes)
    if plain:
        return inner.decode()
    whole = read_whole(raw, prefixes, limits)
    kept = [
        node
        for node in whole.children()
        if not (node.ns == names.SIDS and node.name == "stanza-id")
    ]
    return b"".join(write(node) for node in kept).decode()


def pack(text: str, part: Part) -> bytes:
    """The body that is stored."""
    return _encode(XmppBody(text, None, part))


def unpack(body: bytes) -> XmppBody:
    """A body from anywhere; one that is not understood says nothing."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return XmppBody()


def escape(text: str) -> str:
    """Text between tags. What XML has no place for is shown as a replacement character."""
    if not _BETWEEN.search(text) and "\r" not in text and not _BAD.search(text):
        return text
    return _BAD.sub("\ufffd", text).translate(_TEXT)


def quote(text: str) -> str:
    """An attribute's value, for single quotes."""
    if not _IN_VALUE.search(text):
        return text
    return _BAD.sub("\ufffd", text).translate(_VALUE)


def inside_of(body: XmppBody, id: int, link: Any) -> tuple[str, str, str, str]:
    """(type, id, xml:lang, children) of a message for XMPP clients.

    `link`: makes a whole address of a file's link.
    """
    part = body.xmpp
    if part is not None:
        return part.type, part.id, part.lang, part.inner
    inner = ""
    media = body.media
    if media is not None:
        url = escape(link(media.link))
        text = body.text
        shown = f"{escape(text)}\n{url}" if text else url
        inner = f"<body>{shown}</body><x xmlns='{names.OOB}'><url>{url}</url>"
        inner += f"<desc>{escape(text)}</desc></x>" if text else "</x>"
        inner += _file(media, url)
    elif body.text:
        inner = f"<body>{escape(body.text)}</body>"
    if inner:
        inner += f"<request xmlns='{names.RECEIPTS}'/><markable xmlns='{names.MARKERS}'/>"
    return "chat", str(id), "", inner


def _file(media: Media, url: str) -> str:
    """XEP-0447 with XEP-0446, and the thumbnail of XEP-0264 inside it."""
    parts = [f"<media-type>{escape(media.type)}</media-type><size>{media.size}</size>"]
    if media.name:
        parts.append(f"<name>{escape(media.name)}</name>")
    if media.width and media.height:
        parts.append(f"<width>{media.width}</width><height>{media.height}</height>")
    if media.duration:
        parts.append(f"<length>{int(media.duration * 1000)}</length>")
    if media.thumbnail:
        uri = quote(f"data:image/jpeg;base64,{media.thumbnail}")
        parts.append(f"<thumbnail xmlns='urn:xmpp:thumbs:1' uri='{uri}' media-type='image/jpeg'/>")
    return (
        "<file-sharing xmlns='urn:xmpp:sfs:0' disposition='inline'>"
        f"<file xmlns='urn:xmpp:file:metadata:0'>{''.join(parts)}</file>"
        f"<sources><url-data xmlns='http://jabber.org/protocol/url-data' target='{quote(url)}'/>"
        "</sources></file-sharing>"
    )


def delay(by: str, stamp: str) -> str:
    """XEP-0203: when a message was sent that comes later."""
    return f"<delay xmlns='{names.DELAY}' from='{quote(by)}' stamp='{stamp}'/>"


def stanza_id(by: str, id: int) -> str:
    """XEP-0359: under which id the archive has it."""
    return f"<stanza-id xmlns='{names.SIDS}' by='{quote(by)}' id='{id}'/>"


def lang_of(element: Element) -> str:
    return element.get(LANG)
