"""docs/protocol.md, made from the types, the examples, the limits and the table of codes.

`python -m whimbrel.protocol.document > docs/protocol.md` (`make docs`); a test checks that the
page is up to date. The prose stands in prose.py, numbered so that code can quote it.
"""

import inspect
import typing
from typing import Any

import msgspec

from whimbrel.domain.limits import Limits
from whimbrel.protocol import examples, wire
from whimbrel.protocol.body import body_to_json
from whimbrel.protocol.codes import CLOSE_CODES, CODES
from whimbrel.protocol.prose import DIALOGUE, INTRODUCTION, SIZES
from whimbrel.protocol.websocket import POLICY

_pack = msgspec.msgpack.Encoder().encode

# Limits that a client feels, with what they mean for it.
FELT = {
    "frame_bytes_max": "largest frame, in bytes (told in the welcome)",
    "body_bytes_max": "largest body, in bytes",
    "hello_bytes_max": "largest frame before the welcome",
    "hello_timeout_s": "time for TLS and hello",
    "submits_open_max": "submits without an answer (told in the welcome); more wait in TCP",
    "window_items_max": "items sent to a device and not yet confirmed",
    "window_bytes_max": "and their bytes; one item always fits",
    "idle_ping_s": "silence after which the server pings (told in the welcome)",
    "idle_timeout_s": "silence after which the connection is dead",
    "frames_per_s": "frames a connection may send, sustained; above it the server reads slower",
    "devices_max": "devices of an account",
    "inbox_messages_max": "messages that wait for an account; then the oldest go, aloud",
    "inbox_expiry_s": "how long a message waits",
    "new_contacts_per_hour": "first messages to addresses never written to",
    "watch_s": "how long a watch lasts",
}


def document() -> str:
    return "\n".join(
        [
            INTRODUCTION,
            DIALOGUE,
            *_messages(),
            *_limits(),
            *_codes(),
            _sizes(),
            *_worked(),
            *_schema(),
        ]
    )


def _messages() -> list[str]:
    parts = [
        "## 5. The messages",
        "",
        "Each is an array: its number, then its fields in this order. Fields with a default may be"
        " missing at the end. The examples show the MessagePack payload (without the 4 bytes of"
        " length) in hex, and the same message as JSON.",
    ]
    for number, (title, union, those) in enumerate(
        [
            ("From the device", wire.FromDevice, examples.FROM_DEVICE),
            ("From the server", wire.ToDevice, examples.TO_DEVICE),
        ],
        1,
    ):
        parts += ["", f"### 5.{number} {title}"]
        by_type = {type(example): example for example in those}
        for kind in typing.get_args(union):
            parts += _message(kind, by_type[kind])
    return parts


def _message(kind: type[wire.Wire], example: wire.Wire) -> list[str]:
    tag = kind.__struct_config__.tag
    about = inspect.getdoc(kind) or ""
    fields = ["| field | type | default |", "|---|---|---|"]
    for field in msgspec.structs.fields(kind):
        default = "" if field.default is msgspec.NODEFAULT else f"`{_json(field.default)}`"
        fields.append(f"| `{field.name}` | {_type(field.type)} | {default} |")
    return [
        "",
        f"#### {tag} {kind.__name__}",
        "",
        about,
        "",
        *(fields if msgspec.structs.fields(kind) else ["No fields."]),
        "",
        "```",
        *_wrapped(_pack(example).hex()),
        as_json(example),
        "```",
    ]


def as_json(message: wire.Wire) -> str:
    """Either direction, with the body as the JSON object that it is there."""
    if isinstance(message, wire.Submit | wire.Message | wire.Copy):
        body = msgspec.Raw(body_to_json(bytes(message.body)))
        message = msgspec.structs.replace(message, body=body)
    return _json(message)


def _type(kind: Any) -> str:
    if kind is msgspec.Raw:
        return "body (a map)"
    plain = typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
    return {int: "integer", str: "text", bool: "boolean"}[plain]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _wrapped(text: str, width: int = 96) -> list[str]:
    return [text[at : at + width] for at in range(0, len(text), width)]


def _limits() -> list[str]:
    defaults = Limits()
    rows = [f"| `{name}` | {getattr(defaults, name):,} | {text} |" for name, text in FELT.items()]
    return [
        "",
        "## 6. Limits",
        "",
        "Defaults; an operator may change them. A full queue is answered `busy`, or the server"
        " reads slower; nothing is dropped in silence.",
        "",
        "| limit | default | meaning |",
        "|---|---|---|",
        *rows,
    ]


def _codes() -> list[str]:
    rows = []
    for name, code in CODES.items():
        uses = {True: "yes", False: "no", None: ""}[code.uses_c]
        closes = "yes" if code.fatal else ""
        rows.append(f"| `{name}` | {code.meaning} | {closes} | {uses} | {code.todo} |")
    return [
        "",
        "## 7. Codes",
        "",
        "A code never changes its meaning; clients treat one that they do not know like `refused`.",
        "",
        "| code | meaning | closes | uses up `c` | what to do |",
        "|---|---|---|---|---|",
        *rows,
        *_close_codes(),
    ]


def _close_codes() -> list[str]:
    names: dict[int, list[str]] = {}
    for name, code in CLOSE_CODES.items():
        names.setdefault(code, []).append(f"`{name}`" if name else "Bye, or your own close frame")
    return [
        "",
        "On a WebSocket the close frame that follows says (`bad-frame` also 1003 for a binary"
        " message, 1007 for text that is not UTF-8):",
        "",
        "| close code | after |",
        "|---|---|",
        *[f"| {code} | {', '.join(after)} |" for code, after in sorted(names.items())],
        f"| {POLICY} | every other code |",
    ]


def _sizes() -> str:
    return SIZES.format(**examples.typical_sizes())


def _worked() -> list[str]:
    steps: list[tuple[str, wire.Wire]] = [
        ("device", examples.FROM_DEVICE[0]),
        ("server", examples.TO_DEVICE[0]),
        ("device", wire.Submit(7, examples.BOB, examples.TYPICAL)),
        ("server", wire.Stored(7, examples.ID)),
        ("server", wire.Receipt(41, 44, examples.BOB, examples.ID, 0)),
        ("device", wire.Confirm(44)),
    ]
    lines = ["", "## 9. A dialogue in hex", "", "Whole frames, length included.", "", "```"]
    for who, message in steps:
        payload = _pack(message)
        data = (len(payload).to_bytes(4, "big") + payload).hex()
        lines.append(f"{who}: {type(message).__name__}")
        lines += [f"    {line}" for line in _wrapped(data, 88)]
    return [*lines, "```"]


def _schema() -> list[str]:
    return [
        "",
        "## 10. Schema",
        "",
        "[protocol.schema.json](protocol.schema.json) is the JSON Schema of all messages in their"
        " JSON form, made from the same types.",
        "",
    ]


def schema() -> str:
    """JSON Schema of every message, both directions; bodies are wire.Content."""

    def raw(kind: type) -> dict[str, Any]:
        assert kind is msgspec.Raw, kind
        return {"$ref": "#/$defs/Content"}

    kinds = [*typing.get_args(wire.FromDevice), *typing.get_args(wire.ToDevice), wire.Content]
    unique = list(dict.fromkeys(kinds))
    _, components = msgspec.json.schema_components(
        unique, schema_hook=raw, ref_template="#/$defs/{name}"
    )
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Whimbrel protocol, version 1",
        "$defs": components,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(schema() if sys.argv[1:] == ["schema"] else document())
