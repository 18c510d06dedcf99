"""Every code that a device can hear: what it means, and what a good client does.

docs/protocol.md section 7 is made from this table; a test proves that it is complete.
"""

import msgspec

from whimbrel.domain import errors
from whimbrel.protocol import websocket as ws


class Code(msgspec.Struct, frozen=True):
    meaning: str
    todo: str  # what a client should do
    fatal: bool = False  # the server closes the connection
    uses_c: bool | None = None  # as the answer to a submit: is the number used up?


CODES: dict[str, Code] = {
    "bad-frame": Code(
        "a frame of length 0; on a WebSocket one that breaks RFC 6455, or is not text",
        "a bug in the client",
        fatal=True,
    ),
    "frame-too-big": Code("a frame above `frame_max`", "send less; media by upload", fatal=True),
    "bad-message": Code("not a message of this protocol", "a bug in the client", fatal=True),
    "unsupported-version": Code("the hello's version", "update the client", fatal=True),
    "not-authorized": Code(
        "unknown account, or a wrong or revoked key", "sign up again; do not retry", fatal=True
    ),
    "hello-expected": Code("hello comes first, and once", "a bug in the client", fatal=True),
    "hello-timeout": Code("no hello in time", "reconnect with back-off", fatal=True),
    "idle-timeout": Code("silence, also after a ping", "reconnect with back-off", fatal=True),
    "replaced": Code(
        "another session of this device, or a new sign-up, took over",
        "stop; do not reconnect by yourself",
        fatal=True,
    ),
    "slow-reader": Code(
        "the device read too slowly", "reconnect; everything waits in the inbox", fatal=True
    ),
    "too-many-connections": Code("a bound of the server", "reconnect with back-off", fatal=True),
    "shutting-down": Code("the server stops or restarts", "reconnect after a second", fatal=True),
    "bad-confirm": Code("a confirm beyond the last item", "forget `last`, reconnect", fatal=True),
    "internal": Code(
        "a fault of the server; `id` helps the operator", "tell the person", True, True
    ),
    "try-again": Code(
        "the server cannot write at the moment", "the same again, with back-off", uses_c=False
    ),
    "busy": Code("a queue is full", "the same again, with back-off", uses_c=False),
    "rate-limited": Code("too often", "the same again after `retry_after` seconds", uses_c=False),
    "gap": Code("a number was skipped", "send from `expected` on", uses_c=False),
    "number-used": Code(
        "this number belongs to another message", "give the message a new number", uses_c=None
    ),
    "too-old": Code(
        "the number was used, and its row is gone", "treat it as sent long ago", uses_c=None
    ),
    "unknown-recipient": Code("nobody has this address", "tell the person", uses_c=True),
    "body-too-big": Code("the body is above the limit", "tell the person", uses_c=True),
    "blocked": Code("never told: a blocked sender sees one check mark", "-", uses_c=True),
    "expired": Code("nobody collected it in time", "tell the person", uses_c=True),
    "trimmed": Code("the recipient's inbox was full", "tell the person", uses_c=True),
    "undeliverable": Code(
        "the recipient's side failed on it twice", "tell the person", uses_c=True
    ),
    "bad-address": Code("not an address", "check what was typed"),
    "not-found": Code("there is no such thing (a device, an account)", "check the request"),
    "exists": Code("the name is taken", "choose another one"),
    "conflict": Code("another session took this one's place (XMPP)", "nothing: it is gone"),
    "bad-number": Code("not a telephone number that can get a PIN (HTTP)", "check the number"),
    "pin-wrong": Code("wrong, expired or used PIN (HTTP)", "ask for a new one"),
    "sms-failed": Code("the text message could not be sent (HTTP)", "try again later"),
    "too-big": Code("a file above the limit (HTTP)", "send a smaller one"),
    "wrong-type": Code(
        "a type of file that is not taken, or a damaged picture (HTTP)", "tell the person"
    ),
    "quota-exceeded": Code("too many files or bytes of this account (HTTP)", "tell the person"),
    "no-space": Code("no room for files at the moment (HTTP)", "try again later"),
    "wrong-offset": Code(
        "an upload goes on at another byte (HTTP)", "go on at the header `Upload-Offset`"
    ),
    "bad-checksum": Code("other bytes than announced (HTTP)", "upload again from byte 0"),
    "wrong-range": Code("a file has no such bytes (HTTP)", "ask for others"),
    "refused": Code("anything else that was refused", "tell the person"),
}

# What the close frame of a WebSocket says, by the name in the message before it ("": none).
# Every other end is POLICY. A broken frame has a closer code: see WebSocketDecoder.
CLOSE_CODES: dict[str, int] = {
    "": ws.NORMAL,
    errors.Replaced.code: ws.NORMAL,
    errors.BadFrame.code: ws.PROTOCOL_ERROR,
    errors.FrameTooBig.code: ws.TOO_BIG,
    errors.ShuttingDown.code: ws.GOING_AWAY,
    errors.TooManyConnections.code: ws.LATER,
    errors.RateLimited.code: ws.LATER,
    errors.TRY_AGAIN: ws.LATER,
    errors.INTERNAL: ws.OUR_FAULT,
}
