"""One example of every message, for docs/protocol.md and for tests."""

import msgspec

from whimbrel.protocol import wire

_pack = msgspec.msgpack.Encoder().encode

ALICE, BOB = "+4915112345678", "+4915187654321"
KEY = "c2VjcmV0LWtleS1vZi10aGlzLWRldmljZS1vbmx5LTAx"
ID = 1_795_000_000_123_456
TEXT = "A giant monster is attacking the Golden Gate Bridge"
BODY = msgspec.Raw(_pack({"text": TEXT}))
TYPICAL = msgspec.Raw(_pack({"text": "See you at the bridge"[:20]}))

FROM_DEVICE: tuple[wire.Wire, ...] = (
    wire.Hello(1, ALICE, 1, KEY, 41, 1, "example 1.0"),
    wire.Submit(7, BOB, BODY),
    wire.Confirm(42),
    wire.Read(BOB, ID),
    wire.Typing(BOB, True),
    wire.Watch(BOB),
    wire.Block(BOB, True),
    wire.Ping(3),
    wire.Pong(3),
    wire.Link("tablet"),
    wire.Unlink(2),
    wire.Bye(),
    wire.Hide(True),
)
TO_DEVICE: tuple[wire.Wire, ...] = (
    wire.Welcome(ALICE, 1, 1, 6, 41, 43, ID, 65_536, 64, 60),
    wire.Stored(7, ID),
    wire.Refused(8, "unknown-recipient"),
    wire.Message(41, 42, BOB, ID, 1, 12, BODY),
    wire.Copy(42, 43, BOB, ID, 2, 5, BODY),
    wire.Receipt(43, 44, BOB, ID, 0),
    wire.Failed(44, 45, BOB, 1, 6, ID, "expired"),
    wire.Trimmed(45, 46, 0, 12, 111),
    wire.EndOfQueue(46),
    wire.ReadDone(BOB, ID),
    wire.Typing(BOB, True),
    wire.Presence(BOB, False, ID),
    wire.Block(BOB, True),
    wire.Hide(True),
    wire.Ping(60),
    wire.Pong(3),
    wire.Linked(3, KEY),
    wire.Unlink(2),
    wire.Replaced(),
    wire.Error("not-authorized", "", True, 0, "65f2a1"),
)
ALL = (*FROM_DEVICE, *TO_DEVICE)


def typical_sizes() -> dict[str, int]:
    """Bytes on the wire of a message of 20 characters, frame included, before TLS."""
    submit = 4 + len(_pack(wire.Submit(300, BOB, TYPICAL)))
    message = 4 + len(_pack(wire.Message(300, 301, ALICE, ID, 1, 300, TYPICAL)))
    stored = 4 + len(_pack(wire.Stored(300, ID)))
    return {
        "submit": submit,
        "submit_overhead": submit - 20,
        "message": message,
        "message_overhead": message - 20,
        "stored": stored,
        "confirm": 4 + len(_pack(wire.Confirm(301))),
        "receipt": 4 + len(_pack(wire.Receipt(301, 302, BOB, ID, 0))),
    }
