"""Sign-up by phone: ask for a PIN, trade it for an account and a key.

Turns requests into messages to the sign-up desk (logic/desk.py) and its answers into shapes.
Law: the answer for a number with an account and for one without is the same, and the text
message is sent only after that answer is on disk, so neither is the time.
"""

from aiohttp import web

from whimbrel.domain.answers import PinRefused, PinRequested, Registered, Rejected, ToSession
from whimbrel.domain.errors import INTERNAL, BadMessage
from whimbrel.domain.ids import ACTOR_DESK
from whimbrel.domain.messages import RequestPin, VerifyPin
from whimbrel.edge.http.caller import caller_of, limit_key, named_host, without_port
from whimbrel.edge.http.inside import Inside
from whimbrel.edge.http.keys import new_key, new_pin, pin_hash
from whimbrel.edge.http.numbers import parse_number
from whimbrel.edge.http.problems import refused_as
from whimbrel.edge.http.shapes import Native, PinOnItsWay, PinRequest, SignedUp, Verification


async def on_pin(
    inside: Inside, request: web.Request, body: PinRequest
) -> PinOnItsWay | web.Response:
    number, prefix = parse_number(body.number, inside.default_region)
    client = limit_key(caller_of(request, inside.trusted_proxies))
    pin = new_pin(inside.signup.pin_digits)
    hashed = pin_hash(inside.secret, number, pin)
    answer = await inside.ask(
        ACTOR_DESK,
        lambda reply: RequestPin(number, prefix, client, pin, hashed, reply),
        inside.http.ask_s,
    )
    note(inside, number, "pin", answer, client)
    if isinstance(answer, PinRequested):
        if answer.code:
            return refused_as(answer.code, answer.retry_after_s)
        return PinOnItsWay(answer.expires_s, answer.retry_after_s)
    return refused(answer)


async def on_verify(
    inside: Inside, request: web.Request, body: Verification
) -> SignedUp | web.Response:
    number, _ = parse_number(body.number, inside.default_region)
    client = limit_key(caller_of(request, inside.trusted_proxies))
    name = device_name(body.device_name)
    hashed = pin_hash(inside.secret, number, body.pin.strip())
    key, key_hashed = new_key()
    kept = inside.keep(number, key)
    answer = await inside.ask(
        ACTOR_DESK,
        lambda reply: VerifyPin(number, client, hashed, key_hashed, name, reply, kept),
        inside.http.ask_s,
    )
    note(inside, number, "verify", answer, client)
    if isinstance(answer, PinRefused):
        return refused_as(answer.code, answer.retry_after_s)
    if not isinstance(answer, Registered):
        return refused(answer)
    info = inside.info()
    # Without a domain of its own the server is where the caller has just found it.
    host = (
        info.domain
        if info.domain != "localhost"
        else without_port(named_host(request)) or info.domain
    )
    native = Native(host, info.native_port)
    return SignedUp(answer.account, answer.device, key, answer.created, native, info.fingerprint)


def note(inside: Inside, number: str, what: str, answer: ToSession, client: str) -> None:
    """For the operator's list of the last attempts."""
    if inside.office is None:
        return
    refused = getattr(answer, "code", "")
    result = refused or ("sent" if what == "pin" else "right")
    inside.office.attempts.add(number, what, result, client)


def device_name(text: str) -> str:
    """A name as people may see it: no control characters, no spaces around it."""
    name = text.strip()
    if not name.isprintable():
        raise BadMessage("A device name has no control characters.")
    return name


def refused(answer: ToSession) -> web.Response:
    """An answer that refuses; one that was not foreseen is our bug."""
    return refused_as(answer.code if isinstance(answer, Rejected) else INTERNAL)
