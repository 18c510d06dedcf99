"""What is fuzzed: every place where bytes of strangers become something, with its law.

A target takes any bytes and returns the name of what came out. It lets through only what the
law allows; anything else that is raised is a finding. Run by guided.py (in `make test`, longer
in `make soak` and by `python -m tests.fuzz.table`) and, where it is installed, by atheris.
"""

import itertools
import re
from collections.abc import Callable
from ipaddress import ip_network
from random import Random
from typing import Any, cast

import msgspec
from multidict import CIMultiDict

from tests.fuzz import xmpp_targets
from tests.fuzz.guided import Target
from whimbrel.cli.printable import printable
from whimbrel.client import codec as client_codec
from whimbrel.client import signup
from whimbrel.client.errors import SignupRefused, Unreachable
from whimbrel.client.trust import normal_fingerprint, shown_fingerprint
from whimbrel.client.words import read_content
from whimbrel.domain.errors import BadAddress, BadMessage, BadNumber, Refused
from whimbrel.domain.ids import ADDRESS_CHARS_MAX, account_number, parse_address
from whimbrel.edge.http import admin, caller, dispatch, shapes
from whimbrel.edge.http.keys import same_token
from whimbrel.edge.http.numbers import parse_number
from whimbrel.edge.http.signup import device_name
from whimbrel.edge.transport import network_of
from whimbrel.node.config import MAY_BE_ZERO, ConfigError, load_config
from whimbrel.protocol import examples, wire
from whimbrel.protocol.body import NESTING_MAX, body_from_json, body_to_json, check_body
from whimbrel.protocol.frames import FrameDecoder, encode_frame
from whimbrel.protocol.native import JsonCodec, MsgpackCodec

LIMIT = 4_096
STREAM_BYTES = 400  # they are also read byte by byte
_VALUES = re.compile(r"0x[0-9a-f]+|`?\$[^`]*`|'[^']*'|[0-9]+|\"[^\"]*\"")


def plain(error: Exception) -> str:
    """The text of a refusal without the values in it, and without the place."""
    code = getattr(error, "code", type(error).__name__)
    text = str(error).partition(" - at ")[0]
    return f"{code}: {_VALUES.sub('#', text)[:80]}"


# ---- frames and streams -----------------------------------------------------------------


def read_in_parts(feed: Callable[[bytes], list[Any]], data: bytes, sizes: list[int]) -> list[Any]:
    """What came out; the code of a refusal stands last and ends it."""
    seen: list[Any] = []
    edges = [0, *sorted(sizes), len(data)]
    try:
        for start, stop in itertools.pairwise(edges):
            seen += feed(data[start:stop])
    except Refused as error:
        seen.append(error.code)
    return seen


def any_split(
    make: Callable[[], Callable[[bytes], list[Any]]], data: bytes, *, refusals: int = 1
) -> str:
    """The first byte chooses the split of the others; byte by byte is the measure of all.

    A refusal may come before what stood before it in the same read. With two layers that can
    refuse, frames and messages, it depends on the split which one is faster.
    """
    chance, data = Random(data[:1]), data[1:STREAM_BYTES]
    slowly = read_in_parts(make(), data, list(range(1, len(data))))
    refused = bool(slowly) and isinstance(slowly[-1], str)
    for count in (0, 1, 3):
        cuts = [chance.randint(0, len(data)) for _ in range(count)]
        parts = read_in_parts(make(), data, cuts)
        if refused:
            assert isinstance(parts[-1], str) if refusals > 1 else parts[-1] == slowly[-1]
            assert parts[:-1] == slowly[: len(parts) - 1], (parts, slowly)
        else:
            assert parts == slowly, (parts, slowly)
    return f"{min(len(slowly), 4)} {slowly[-1] if refused else ''}"


def frames(data: bytes) -> str:
    return any_split(lambda: FrameDecoder(300).feed, data)


def client_stream(data: bytes) -> str:
    return any_split(lambda: client_codec.Decoder(600).feed, data, refusals=2)


# ---- codecs and bodies ------------------------------------------------------------------


def codec(make: Callable[[], Any]) -> Callable[[bytes], str]:
    """A message that reads the same when it is written again, or bad-message."""
    decode, encode, check = make().decode, make().encode, make().check_body

    def run(data: bytes) -> str:
        try:
            message = decode(data)
        except BadMessage as error:
            return plain(error)
        assert isinstance(message, wire.Wire)
        if isinstance(message, wire.Submit):
            try:
                check(bytes(message.body), LIMIT)
            except Refused as error:
                assert error.code in ("bad-message", "body-too-big")
                return plain(error)
        if not isinstance(message, wire.Message | wire.Copy):
            assert decode(encode(message)) == message
        return type(message).__name__

    return run


def body(data: bytes) -> str:
    """Taken as it is and then good for readers of JSON, or refused."""
    try:
        taken = check_body(data, LIMIT)
    except Refused as error:
        assert error.code in ("bad-message", "body-too-big")
        return plain(error)
    text = body_to_json(taken)
    assert deep(msgspec.json.decode(text)) <= NESTING_MAX
    again = body_from_json(text, 10 * LIMIT)
    assert msgspec.json.decode(body_to_json(again)) == msgspec.json.decode(text)
    read_content(taken)
    return "taken"


def json_body(data: bytes) -> str:
    try:
        taken = body_from_json(data, LIMIT)
    except Refused as error:
        assert error.code in ("bad-message", "body-too-big")
        return plain(error)
    assert check_body(taken, LIMIT) == taken
    assert body_from_json(body_to_json(taken), 10 * LIMIT) == taken
    return "taken"


def deep(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(deep, inner), default=0)


def content(data: bytes) -> str:
    """What a client makes of a body: never an exception."""
    said = read_content(data)
    shown = printable(said.text)
    assert not any((char < " " and char != "\n") or "\x7f" <= char < "\xa0" for char in shown)
    shown.encode()
    return f"{bool(said.text)} {said.reply is not None} {said.sealed is not None}"


# ---- HTTP -------------------------------------------------------------------------------

_SHAPES: tuple[type[shapes.Shape], ...] = (shapes.PinRequest, shapes.Verification, shapes.NewUser)
_SHAPE_DECODERS: list[Any] = [msgspec.json.Decoder(shape) for shape in _SHAPES]


def http_shape(data: bytes) -> str:
    """A shape of the table, or bad-message in words that repeat no value."""
    said = []
    for decoder in _SHAPE_DECODERS:
        try:
            shape = dispatch.decode(data, decoder, 32)
        except BadMessage as error:
            said.append(plain(error))
        else:
            assert isinstance(shape, _SHAPES)
            msgspec.json.encode(shape)
            if isinstance(shape, shapes.Verification):
                said.append(named(lambda: device_name(shape.device_name), BadMessage))  # noqa: B023
    return " ".join(said)


def named(call: Callable[[], Any], kind: type[Refused]) -> str:
    try:
        call()
    except kind as error:
        return plain(error)
    return "good"


def http_head(data: bytes) -> str:
    """Header fields as aiohttp hands them on: who calls, is it local, is the token right."""
    text = data.decode("utf-8", "surrogateescape")
    parts = (text.split("\n") + [""] * 4)[:4]
    headers = CIMultiDict([("Host", parts[0]), ("X-Forwarded-For", parts[1])])
    request: Any = _Request(headers)
    address = caller.caller_of(request, (ip_network("127.0.0.0/8"),))
    key = caller.limit_key(address)
    assert key == network_of(str(address))
    direct: Any = _Request(CIMultiDict([("Host", parts[0])]))
    assert not caller.is_local(request)
    local = caller.is_local(direct)
    assert not same_token(parts[2].partition(" ")[2].strip(), "the-token")
    query = named(lambda: admin.limit_in(parts[3], 500), BadMessage)
    return f"{address.version} {address == caller.UNKNOWN} {local} {query}"


class _Request:
    """As much of a request as caller.py asks for; its peer is this machine."""

    def __init__(self, headers: CIMultiDict[str]) -> None:
        self.headers = headers
        self.transport = self

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return ("127.0.0.1", 1)


def sign_up_answer(data: bytes) -> str:
    """What the client makes of whatever stands at the address of a server."""
    said = []
    for kind in (signup.PinSent, signup.SignedUp):
        try:
            signup._decode(data, kind)
            said.append("taken")
        except Unreachable:
            said.append("unreachable")
    refusal = signup._refusal(400, data)
    assert isinstance(refusal, SignupRefused | Unreachable)
    return f"{said} {type(refusal).__name__}"


# ---- text -------------------------------------------------------------------------------


def address(data: bytes) -> str:
    """The canonical form, which is its own canonical form, or bad-address."""
    text = data.decode("utf-8", "ignore")
    try:
        good = parse_address(text)
    except BadAddress as error:
        return plain(error)
    assert parse_address(good) == good
    assert good.isascii()
    assert 0 < len(good) <= ADDRESS_CHARS_MAX
    assert 0 < account_number(good) < 1 << 63
    return good[:1] if good[0] == "+" else "name"


def phone(data: bytes) -> str:
    """E.164, its own canonical form and an address, or bad-number. First byte: the region."""
    region = ("", "DE", "US", "BR", "IT", "GB", "RU", "AR")[data[0] % 8 if data else 0]
    try:
        number, prefix = parse_number(data[1:].decode("utf-8", "ignore"), region)
    except BadNumber as error:
        return plain(error)
    assert parse_number(number) == (number, prefix)
    assert number.startswith(prefix)
    assert parse_address(number) == number
    return prefix


def fingerprint(data: bytes) -> str:
    text = data.decode("utf-8", "ignore")
    assert normal_fingerprint(shown_fingerprint("ab" * 32)) == "ab" * 32
    return str(len(shown_fingerprint(text)) > 0)


class _Page:
    """A file of these bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_text(self, encoding: str) -> str:
        return self._data.decode(encoding)

    def __str__(self) -> str:
        return "whimbrel.toml"


def config(data: bytes) -> str:
    """A configuration, or an error that says where."""
    try:
        read = load_config(cast(Any, _Page(data)))
    except ConfigError as error:
        assert str(error)
        what = str(error).rpartition(": ")[2]  # not the key: there is no end of new ones
        return "no such key" if "no such key" in what else _VALUES.sub("#", what)[:40]
    numbers = msgspec.structs.asdict(read.limits)
    assert all(n > 0 or (n == 0 and name in MAY_BE_ZERO) for name, n in numbers.items())
    return "good"


# ---- all of them ------------------------------------------------------------------------

_pack = msgspec.msgpack.Encoder().encode
DEVICE = tuple(_pack(example) for example in examples.FROM_DEVICE)
SERVER = tuple(_pack(example) for example in examples.TO_DEVICE)
_to_json = JsonCodec(client=False).encode
JSON_DEVICE = tuple(
    msgspec.json.encode(
        msgspec.structs.replace(each, body=msgspec.Raw(b'{"text":"hi"}'))
        if isinstance(each, wire.Submit)
        else each
    )
    for each in examples.FROM_DEVICE
)
JSON_SERVER = tuple(_to_json(example) for example in examples.TO_DEVICE)
BODIES: tuple[dict[str, Any], ...] = (
    {"text": "hi"},
    {"text": "hi", "reply": ["alice", 1, 2]},
    {"sealed": "AAAA", "x": [1, -1.5, True, None, {"y": []}]},
    {"x": {"x": {"x": {"x": [[[[1]]]]}}}},
)
PACK_WORDS = (
    b"\x81\xa1x\x91",
    b"\x91",
    b"\x81\x80\xc0",
    b"\x81\x90\xc0",
    b"\xc4\x01x",
    b"\xd6\xff\xff\xff\xff\xff",
    b"\xd7\xff" + b"\xff" * 8,
    b"\xc7\x0c\xff" + b"\xff" * 12,
    b"\xcb\x7f\xf0" + bytes(6),
    b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + bytes(7),
    b"\xa3\xed\xa0\x80",
    b"\xdf\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xa4text",
    b"\xa5reply",
)
JSON_WORDS = (
    b'{"x":',
    b"[",
    b"]",
    b"}",
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b"\xed\xa0\x80",
    b"1e400",
    b"-0.0",
    b"9007199254740993",
    b"NaN",
    b"\xff",
    b'"text":"',
    b'"reply":[',
    b"null",
    b",",
)
SHAPES = (
    b'{"number":"+4915112345678"}',
    b'{"number":"+4915112345678","pin":"12345","device_name":"phone"}',
    b'{"address":"alice","device_name":"laptop"}',
)
ANSWERS = (
    b'{"expires_in_s":600,"retry_after_s":60}',
    b'{"account":"+4915112345678","device":1,"key":"k","created":true,'
    b'"native":{"host":"h","port":7443},"fingerprint":"AB:CD"}',
    b'{"error":{"code":"busy","message":"m","retry_after_s":3}}',
)
STREAM = tuple(
    b"\x01" + b"".join(map(encode_frame, some)) for some in (DEVICE[:4], SERVER[:3], SERVER[7:11])
)
LENGTHS = (b"\0\0\0\0", b"\0\0\0\1", b"\0\0\1\x2c", b"\0\0\1\x2d", b"\0\0\2\x58", b"\xff" * 4)
TOML = (
    b'domain = "chat.example.org"\n[limits]\nframe_bytes_max = 70000\n',
    b"[signup]\npin_digits = 6\nnumber_waits_s = [60, 120]\n[signup.per_prefix_of]\n'+49' = 5\n",
    b'[listen]\nnative = 7443\n[sms]\nsender = "file"\n[sms.options]\nx = 1979-05-27T07:32:00Z\n',
    b'[log]\nformat = "json"\nlevel = "debug"\n[tls]\ncertificate = "a"\nkey = "b"\n',
)
TOML_WORDS = (
    b"[limits]\n",
    b"[signup]\n",
    b"nan",
    b"-inf",
    b"1e400",
    b"99999999999999999999999",
    b"1979-05-27",
    b"= [",
    b"= {",
    b"[[limits]]\n",
    b"hello_timeout_s = ",
    b"per_prefix_of = ",
    b"\xff",
)
PHONES = (b"\0+4915112345678", b"\x010151 12345678", b"\x02(415) 555-2671 x3", b"\0tel:+39-06")
PHONE_WORDS = (
    b";ext=",
    b"tel:",
    b";phone-context=",
    "٠١٢".encode(),
    "＋".encode(),
    b"00",
    b"x",
    b"*",
)

TARGETS: tuple[Target, ...] = (
    Target("frames", "the same frames for any split", frames, STREAM, LENGTHS),
    Target(
        "MessagePack codec",
        "a message, or bad-message",
        codec(MsgpackCodec),
        DEVICE,
        PACK_WORDS,
    ),
    Target("JSON codec", "a message, or bad-message", codec(JsonCodec), JSON_DEVICE, JSON_WORDS),
    Target(
        "MessagePack codec of the client",
        "a message, or bad-message",
        codec(lambda: MsgpackCodec(client=True)),
        SERVER,
        PACK_WORDS,
    ),
    Target(
        "JSON codec of the client",
        "a message, or bad-message",
        codec(lambda: JsonCodec(client=True)),
        JSON_SERVER,
        JSON_WORDS,
    ),
    Target(
        "stream of the client",
        "the same messages for any split",
        client_stream,
        STREAM,
        LENGTHS + PACK_WORDS,
    ),
    Target(
        "body, MessagePack",
        "good for every reader, or refused",
        body,
        tuple(map(_pack, BODIES)),
        PACK_WORDS,
    ),
    Target(
        "body, JSON",
        "the same after a round trip, or refused",
        json_body,
        tuple(map(msgspec.json.encode, BODIES)),
        JSON_WORDS,
    ),
    Target(
        "body, as a client shows it",
        "never an exception, no control character",
        content,
        tuple(map(_pack, BODIES)),
        (*PACK_WORDS, b"\x1b[2J", "\u202e\x9b".encode()),
    ),
    Target(
        "HTTP shapes",
        "a shape, or bad-message",
        http_shape,
        SHAPES,
        (*JSON_WORDS, b'"number":', b'"pin":'),
        ("whimbrel",),
    ),
    Target(
        "HTTP header fields",
        "an address and a yes or no",
        http_head,
        (
            b"localhost:8080\n203.0.113.7, 10.0.0.1\nBearer x\n100",
            b"[::1]:80\n::ffff:1.2.3.4\n\n",
        ),
        (
            b"\xff",
            b"%",
            b"127.0.0.1",
            b"::1",
            b"fe80::1%",
            b"\n",
            b",",
            b"Bearer ",
            b"[",
            "²".encode(),
        ),
    ),
    Target(
        "sign-up answers at the client",
        "taken, or unreachable",
        sign_up_answer,
        ANSWERS,
        JSON_WORDS,
    ),
    Target("address", "canonical, or bad-address", address, (b"+4915112345678", b"Alice.b-c_1")),
    Target(
        "telephone number",
        "E.164, or bad-number",
        phone,
        PHONES,
        PHONE_WORDS,
        ("whimbrel", "phonenumbers"),
    ),
    Target(
        "fingerprint",
        "never an exception",
        fingerprint,
        (b"AB:CD:" + b"ab" * 30, b"sha256:ab"),
    ),
    Target(
        "configuration",
        "good, or an error that says where",
        config,
        TOML,
        TOML_WORDS,
        ("whimbrel", "tomllib"),
    ),
    *xmpp_targets.TARGETS,
)
