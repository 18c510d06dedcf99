"""What the peer hears when something is refused: one table from code to HTTP status and text.

Every error is {"error": {"code", "message", "retry_after_s"}}. A test proves that the table
knows all codes of domain/errors.py. The exception's own text stays inside, except for numbers
and addresses, where it says what to write.
"""

import msgspec
from aiohttp import web

from whimbrel.domain import errors
from whimbrel.domain.errors import BadAddress, BadMessage, BadNumber, Refused


class WrongMethod(Refused):
    code = "wrong-method"


class WrongContentType(Refused):
    code = "wrong-content-type"


class UpgradeRequired(Refused):
    code = "upgrade-required"


class WrongOrigin(Refused):
    code = "wrong-origin"


class WrongScope(Refused):
    code = "wrong-scope"


class UpgradeRunning(Refused):
    code = "upgrade-running"


class NothingToRollBack(Refused):
    code = "nothing-to-roll-back"


class Problem(msgspec.Struct, frozen=True):
    """code: for programs, never changes; message: for people; retry_after_s: 0 = not said."""

    code: str
    message: str
    retry_after_s: int = 0


class Problems(msgspec.Struct, frozen=True):
    error: Problem


STATUS: dict[str, tuple[int, str]] = {
    # what this front end says
    "bad-message": (400, "The request is not the JSON that this address expects."),
    "not-authorized": (401, "The token is missing or wrong."),
    "pin-wrong": (403, "This PIN is wrong, used or expired. Check it, or ask for a new one."),
    "wrong-origin": (403, "A page of this origin may not connect; see web.origins."),
    "wrong-scope": (403, "This token may not do that; see `whimbrel token list`."),
    "not-found": (404, "There is nothing at this address."),
    "wrong-method": (405, "This address does not take this method."),
    "wrong-offset": (409, "Go on at another byte: the header Upload-Offset says where."),
    "exists": (409, "This account exists already."),
    "upgrade-running": (409, "An upgrade is under way. Wait for its end, or roll it back."),
    "nothing-to-roll-back": (409, "No upgrade is under way, and none was accepted before."),
    "conflict": (409, "Another session took the place of this one."),
    "body-too-big": (413, "The request is too big."),
    "too-big": (413, "The file, or this piece of it, is too big."),
    "wrong-type": (415, "A file of this type is not taken, or it is damaged."),
    "wrong-content-type": (415, "Send the request as Content-Type: application/json, not packed."),
    "upgrade-required": (426, "Connect with a WebSocket, version 13."),
    "wrong-range": (416, "The file has no such bytes."),
    "bad-checksum": (422, "These are not the bytes that were announced. Begin again at 0."),
    "bad-number": (422, "This is not a telephone number that can receive a PIN."),
    "bad-address": (422, "This is not an address: write +<digits> or a name."),
    "quota-exceeded": (429, "No more files for now: your quota is used up."),
    "rate-limited": (429, "Too many tries. Wait a little."),
    "internal": (500, "Something went wrong on our side."),
    "sms-failed": (502, "The text message could not be sent. Try again later."),
    "busy": (503, "The server is busy. Try again in a moment."),
    "try-again": (503, "The server is not ready. Try again in a moment."),
    "shutting-down": (503, "The server is stopping. Try again in a moment."),
    "too-many-connections": (503, "Too many connections."),
    "no-space": (507, "The server has no room for files at the moment."),
    # words of the other front ends, should one ever get here
    "refused": (400, "Refused."),
    "bad-frame": (400, "Not understood."),
    "bad-confirm": (400, "Confirmed more than there was."),
    "hello-expected": (400, "Log in first."),
    "unsupported-version": (400, "This version is not supported."),
    "blocked": (403, "The recipient does not accept this."),
    "unknown-recipient": (404, "There is no such recipient."),
    "hello-timeout": (408, "Too slow."),
    "idle-timeout": (408, "Too slow."),
    "slow-reader": (408, "Too slow."),
    "gap": (409, "Numbers are missing."),
    "number-used": (409, "This number was used for something else."),
    "replaced": (409, "Another session or registration took this place."),
    "expired": (410, "Too late."),
    "too-old": (410, "Too old to be known."),
    "trimmed": (410, "Removed, because too many were waiting."),
    "undeliverable": (410, "This cannot be delivered."),
    "frame-too-big": (413, "Too big."),
}
CODE = web.ResponseKey("code", str)  # under which a refusal carries its name, for the audit log
SAY_WHY = (BadNumber, BadAddress, BadMessage)  # their texts are written for people


def refused_as(code: str, retry_after_s: int = 0, why: str = "") -> web.Response:
    """The answer for a code that came without an exception."""
    return _answer(code if code in STATUS else errors.INTERNAL, why, retry_after_s)


def response_for(error: Exception) -> web.Response:
    """Refused, Unready, or our own bug ("internal")."""
    if isinstance(error, errors.Unready):
        return _answer(errors.TRY_AGAIN, "", 1)
    if not isinstance(error, Refused):
        return _answer(errors.INTERNAL, "", 0)
    why = str(error) if isinstance(error, SAY_WHY) and str(error) != error.code else ""
    return _answer(error.code, why, error.retry_after_s)


def _answer(code: str, why: str, retry_after_s: int) -> web.Response:
    status, message = STATUS[code]
    body = msgspec.json.encode(Problems(Problem(code, why or message, retry_after_s)))
    response = web.Response(body=body, status=status, content_type="application/json")
    response[CODE] = code
    if retry_after_s:
        response.headers["Retry-After"] = str(retry_after_s)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
