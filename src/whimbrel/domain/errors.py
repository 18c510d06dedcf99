"""What can be refused, by name. One family, one table per front end.

`Refused` is the peer's fault or a limit that the peer must respect: `code` is public, the
text goes to the log only. `Unready` is the fault of our surroundings (full disk, database
away). Anything else that is raised is our bug: it ends the actor or the connection and is
"internal" on the wire.
"""


class Refused(Exception):
    """Refused by name. `fatal`: the connection ends after the answer."""

    code = "refused"
    fatal = False

    def __init__(self, text: str = "", *, retry_after_s: int = 0) -> None:
        super().__init__(text or self.code)
        self.retry_after_s = retry_after_s


class BadFrame(Refused):
    code, fatal = "bad-frame", True


class FrameTooBig(Refused):
    code, fatal = "frame-too-big", True


class BadMessage(Refused):
    code, fatal = "bad-message", True


class BadVersion(Refused):
    code, fatal = "unsupported-version", True


class NotAuthorized(Refused):
    """Wrong or revoked key, or no such account: never told apart."""

    code, fatal = "not-authorized", True


class HelloExpected(Refused):
    code, fatal = "hello-expected", True


class HelloTimeout(Refused):
    code, fatal = "hello-timeout", True


class IdleTimeout(Refused):
    code, fatal = "idle-timeout", True


class Replaced(Refused):
    """Another session or a new registration took this device's place."""

    code, fatal = "replaced", True


class SlowReader(Refused):
    code, fatal = "slow-reader", True


class RateLimited(Refused):
    code = "rate-limited"


class TooManyConnections(Refused):
    code, fatal = "too-many-connections", True


class ShuttingDown(Refused):
    code, fatal = "shutting-down", True


class Busy(Refused):
    code = "busy"


class BadAddress(Refused):
    code = "bad-address"


class UnknownRecipient(Refused):
    code = "unknown-recipient"


class BodyTooBig(Refused):
    code = "body-too-big"


class BadConfirm(Refused):
    code, fatal = "bad-confirm", True


class BadNumber(Refused):
    """Not a telephone number that can receive a PIN."""

    code = "bad-number"


class PinWrong(Refused):
    """Wrong, expired, used up or never asked for: never told apart."""

    code = "pin-wrong"


class SmsFailed(Refused):
    code = "sms-failed"


class NotFound(Refused):
    code = "not-found"


class Exists(Refused):
    code = "exists"


class TooBig(Refused):
    """A file, or a piece of one, above a limit of media."""

    code = "too-big"


class WrongType(Refused):
    """A media type that is none, is not allowed here, or is not what the bytes are."""

    code = "wrong-type"


class QuotaExceeded(Refused):
    code = "quota-exceeded"


class NoSpace(Refused):
    """The disk has reached the floor that the configuration names."""

    code = "no-space"


class BadChecksum(Refused):
    """The bytes are not those that were announced: the upload begins again at 0."""

    code = "bad-checksum"


class WrongOffset(Refused):
    """The next byte that is wanted is another one: `offset`."""

    code = "wrong-offset"

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset


class WrongRange(Refused):
    """No byte of the file lies in the range that was asked for; `size` is the file's."""

    code = "wrong-range"

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


class MediaExpired(Refused):
    code = "expired"


class Unready(Exception):
    """Our surroundings are broken; nothing is acknowledged until they are mended."""

    code = "try-again"


# Codes that travel without an exception: answers of actors and final states of messages.
TRY_AGAIN = "try-again"
CONFLICT = "conflict"  # another session took this one's resource
GAP = "gap"
NUMBER_USED = "number-used"
TOO_OLD = "too-old"
BLOCKED = "blocked"
EXPIRED = "expired"
TRIMMED = "trimmed"
UNDELIVERABLE = "undeliverable"
INTERNAL = "internal"
