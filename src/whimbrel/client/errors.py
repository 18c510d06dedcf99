"""What can go wrong for a client, by name, each with a text that says what to do.

`Ended` and its children are final: the client does not connect again by itself.
"""


class ClientError(Exception):
    """Base. `code` is a word of the protocol or one of ours; the text is for people."""

    code = "client-error"

    def __init__(self, text: str = "", *, retry_after_s: int = 0) -> None:
        super().__init__(text or self.code)
        self.retry_after_s = retry_after_s


class Undelivered(ClientError):
    """This message was refused or will never be delivered; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(UNDELIVERED_TEXTS.get(code, f"not delivered: {code}"))
        self.code = code


class NotConnected(ClientError):
    """The connection went away before the answer came; ask again."""

    code = "not-connected"


class Unreachable(ClientError):
    """The server did not answer."""

    code = "unreachable"


class CommandRefused(ClientError):
    """The server refused a command other than a message."""

    def __init__(self, code: str, retry_after_s: int = 0) -> None:
        wait = f"; try again in {wait_text(retry_after_s)}" if retry_after_s else ""
        super().__init__(f"the server refused: {code}{wait}", retry_after_s=retry_after_s)
        self.code = code


class Ended(ClientError):
    """The client stopped for good."""

    code = "ended"


class Closed(Ended):
    """close() was called."""

    code = "closed"


class ReplacedElsewhere(Ended):
    """Another session of this device, or a new registration, took over."""

    code = "replaced"


class NotAuthorized(Ended):
    """The key is wrong or was replaced by a new registration, or the account is gone."""

    code = "not-authorized"


class UnsupportedVersion(Ended):
    code = "unsupported-version"


class UntrustedCertificate(Ended):
    """The server's certificate is not the one that was trusted first."""

    code = "untrusted-certificate"


class StoreFailed(Ended):
    """The local files could not be written; nothing more is confirmed."""

    code = "store-failed"


class AlreadyOpen(ClientError):
    """Another process has this account's file open."""

    code = "already-open"


class SignupRefused(ClientError):
    """The sign-up service refused; `code` and `retry_after_s` as it said."""

    def __init__(self, code: str, text: str, retry_after_s: int = 0) -> None:
        super().__init__(text, retry_after_s=retry_after_s)
        self.code = code


UNDELIVERED_TEXTS = {
    "unknown-recipient": "nobody is registered under this address",
    "blocked": "the recipient does not accept messages from you",
    "expired": "the recipient did not collect the message in time",
    "trimmed": "too many messages waited for the recipient, the oldest were removed",
    "undeliverable": "the message could not be delivered",
    "body-too-big": "the message is too long",
    "bad-address": "this is not an address",
    "too-old": "the server does not remember this message any more",
    "number-used": "another copy of this device used the same number",
    "replaced": "this account was registered again before the server had answered; send it again",
    "internal": "the server could not handle this message",
}

ENDED_BY_CODE: dict[str, tuple[type[Ended], str]] = {
    "not-authorized": (
        NotAuthorized,
        "the server does not accept this account's key; register again: whimbrel register",
    ),
    "replaced": (
        ReplacedElsewhere,
        "this account was opened on another device or registered again; "
        "only the newest one stays connected",
    ),
    "unsupported-version": (
        UnsupportedVersion,
        "the server speaks another version of the protocol; update this program",
    ),
}


def wait_text(seconds: int) -> str:
    """'45 seconds', '3 minutes', '2 hours': for people."""
    if seconds < 120:
        return f"{seconds} second" + ("" if seconds == 1 else "s")
    if seconds < 7200:
        return f"{round(seconds / 60)} minutes"
    return f"{round(seconds / 3600)} hours"
