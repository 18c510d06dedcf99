"""Sign-up by phone over HTTP: ask for a PIN, trade it for an account and a key.

The key comes once and is the password of every later login. Raises SignupRefused with the
server's code, or Unreachable.
"""

import os
from typing import Annotated, TypeVar

import aiohttp
import msgspec

from whimbrel.client.errors import SignupRefused, Unreachable, wait_text
from whimbrel.domain.discreet import discreet

T = TypeVar("T")
TIMEOUT_S = 20.0
ANSWER_BYTES_MAX = 65_536
NOT_OURS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # any bytes, any nesting


Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class PinSent(msgspec.Struct, frozen=True):
    expires_in_s: Seconds
    retry_after_s: Seconds = 0


class NativeAddress(msgspec.Struct, frozen=True):
    """host "": the one of the sign-up address. tls False: a plain port (loopback, tests)."""

    host: str
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)]
    tls: bool = True


class SignedUp(msgspec.Struct, frozen=True):
    """fingerprint "": the server's certificate is signed by an authority, or there is none."""

    account: str
    device: int
    key: str
    created: bool
    native: NativeAddress
    fingerprint: str = ""
    __repr__ = discreet


class _Problem(msgspec.Struct):
    code: str
    message: str = ""
    retry_after_s: Seconds = 0


class _Problems(msgspec.Struct):
    error: _Problem


_TEXTS = {
    "pin-wrong": "this PIN is wrong, used or expired; check it, or ask for a new one",
    "bad-number": "this is not a telephone number that can receive a PIN; "
    "write it with the country code, like +4915112345678",
    "sms-failed": "the server could not send the PIN; try again later or ask the operator",
    "rate-limited": "too many tries",
    "busy": "the server is busy",
}


async def request_pin(url: str, number: str) -> PinSent:
    """Have a PIN sent to `number`."""
    body = await _post(f"{url.rstrip('/')}/v1/signup/pin", {"number": number})
    return _decode(body, PinSent)


async def verify(url: str, number: str, pin: str, device_name: str) -> SignedUp:
    """Trade the PIN for an account. Every older key of the account is worthless from now on."""
    body = await _post(
        f"{url.rstrip('/')}/v1/signup/verify",
        {"number": number, "pin": pin, "device_name": device_name},
    )
    return _decode(body, SignedUp)


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except NOT_OURS:
        raise Unreachable("the address answers, but not as a Whimbrel server does") from None


async def _post(url: str, body: dict[str, str]) -> bytes:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            # A redirection would take the PIN to somebody else, perhaps without TLS.
            session.post(url, json=body, allow_redirects=False) as answer,
        ):
            content = await answer.content.read(ANSWER_BYTES_MAX)
            if answer.status < 300:
                return content
            raise _refusal(answer.status, content)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unreachable(f"no server answers at {url}: {_why(error)}") from None


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        errno = error.os_error.errno
        return os.strerror(errno) if errno and errno > 0 else str(error.os_error)
    return str(error) or type(error).__name__


def _refusal(status: int, content: bytes) -> SignupRefused | Unreachable:
    try:
        problem = msgspec.json.decode(content, type=_Problems).error
    except NOT_OURS:
        return Unreachable(f"the address answers ({status}), but not as a Whimbrel server does")
    text = _TEXTS.get(problem.code) or problem.message or problem.code
    if problem.retry_after_s:
        text += f"; try again in {wait_text(problem.retry_after_s)}"
    return SignupRefused(problem.code, text, problem.retry_after_s)
