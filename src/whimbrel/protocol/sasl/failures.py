"""Why a login fails, in the words of RFC 6120 section 6.5, and the strict Base64 of section 6.4."""

import base64
import binascii

CONDITIONS = frozenset(
    {
        "aborted",
        "account-disabled",
        "credentials-expired",
        "encryption-required",
        "incorrect-encoding",
        "invalid-authzid",
        "invalid-mechanism",
        "malformed-request",
        "mechanism-too-weak",
        "not-authorized",
        "temporary-auth-failure",
    }
)
EMPTY = "="  # an initial response of no bytes


class SaslFailure(Exception):
    """Ends one attempt; `condition` is one of CONDITIONS."""

    def __init__(self, condition: str, text: str = "") -> None:
        assert condition in CONDITIONS, condition
        super().__init__(condition, text)
        self.condition = condition
        self.text = text


def decoded(text: str) -> bytes:
    """Raises SaslFailure(incorrect-encoding) for anything but plain Base64."""
    if text == EMPTY:
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SaslFailure("incorrect-encoding") from None


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode() or EMPTY
