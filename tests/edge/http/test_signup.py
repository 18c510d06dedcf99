"""Sign-up over real sockets, with the real rules of the desk behind them."""

import hashlib
import re

import msgspec
import pytest

from tests.edge.http.sign_up_world import NUMBER, SignUpWorld, running
from whimbrel.domain.answers import Rejected, ToSession
from whimbrel.domain.desk import SignupLimits
from whimbrel.domain.errors import Busy, Unready
from whimbrel.domain.ids import account_number
from whimbrel.domain.messages import RequestPin, VerifyPin


async def test_a_number_becomes_an_account_with_a_key_that_is_told_once(
    world: SignUpWorld,
) -> None:
    assert await world.post("/v1/signup/pin", {"number": NUMBER}) == (
        202,
        {"expires_in_s": 600, "retry_after_s": 60},
    )
    ((number, pin),) = world.sender.sent
    assert number == NUMBER
    assert re.fullmatch(r"[0-9]{5}", pin)
    status, body = await world.post(
        "/v1/signup/verify", {"number": NUMBER, "pin": pin, "device_name": " my phone "}
    )
    assert status == 201
    key = body.pop("key")
    assert body == {
        "account": NUMBER,
        "device": 1,
        "created": True,
        "native": {"host": "chat.example", "port": 7443},
        "fingerprint": "AB:CD",
    }
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", key)
    user = world.users[account_number(NUMBER)]
    assert user.key_hash == hashlib.sha256(key.encode()).digest()
    assert user.name == "my phone"
    assert world.headers["Cache-Control"] == "no-store"


async def test_only_hashes_of_pins_and_keys_reach_the_actors(world: SignUpWorld) -> None:
    pin = await world.pin()
    _, body = await world.post("/v1/signup/verify", {"number": NUMBER, "pin": pin})
    request, verify = world.asked
    assert isinstance(request, RequestPin)
    assert isinstance(verify, VerifyPin)
    assert request.pin_hash == verify.pin_hash
    assert len(request.pin_hash) == 32
    assert hashlib.sha256(pin.encode()).digest() != request.pin_hash  # keyed
    everything = msgspec.msgpack.encode([verify, list(world.desk.signups.values())])
    assert body["key"].encode() not in everything
    assert b"\xa5" + pin.encode() not in everything


async def test_the_same_pin_of_two_numbers_has_two_hashes(world: SignUpWorld) -> None:
    for number in (NUMBER, "+4915187654321"):
        await world.post("/v1/signup/verify", {"number": number, "pin": "12345"})
    first, second = world.asked
    assert isinstance(first, VerifyPin)
    assert isinstance(second, VerifyPin)
    assert first.pin_hash != second.pin_hash


async def test_signing_up_again_gives_another_key_and_says_so(world: SignUpWorld) -> None:
    keys, created = [], []
    for _ in range(2):
        pin = await world.pin()
        _, body = await world.post("/v1/signup/verify", {"number": NUMBER, "pin": pin})
        keys.append(body["key"])
        created.append(body["created"])
        world.desk.later(3_600)
    assert keys[0] != keys[1]
    assert created == [True, False]


async def test_the_answer_is_the_same_for_known_and_unknown_numbers(world: SignUpWorld) -> None:
    pin = await world.pin()
    await world.post("/v1/signup/verify", {"number": NUMBER, "pin": pin})
    world.desk.later(86_400)
    answers, headers = [], []
    for number in (NUMBER, "+4915187654321"):
        answers.append(await world.post("/v1/signup/pin", {"number": number}))
        headers.append(list(world.headers))
    for number in (NUMBER, "+4915187654321", "+4915100000000"):
        answers.append(await world.post("/v1/signup/verify", {"number": number, "pin": "0"}))
    assert answers[0] == answers[1]
    assert headers[0] == headers[1]
    assert answers[2] == answers[3] == answers[4]


async def test_a_wrong_pin_is_refused_by_name_and_a_right_one_works_once(
    world: SignUpWorld,
) -> None:
    pin = await world.pin()
    wrong = "00000" if pin != "00000" else "11111"
    status, body = await world.post("/v1/signup/verify", {"number": NUMBER, "pin": wrong})
    assert (status, body["error"]["code"]) == (403, "pin-wrong")
    assert body["error"]["message"]
    status, _ = await world.post("/v1/signup/verify", {"number": NUMBER, "pin": f" {pin} "})
    assert status == 201
    status, body = await world.post("/v1/signup/verify", {"number": NUMBER, "pin": pin})
    assert (status, body["error"]["code"]) == (403, "pin-wrong")


async def test_a_second_request_hears_how_long_to_wait(world: SignUpWorld) -> None:
    await world.pin()
    status, body = await world.post("/v1/signup/pin", {"number": NUMBER})
    assert status == 429
    assert body["error"]["code"] == "rate-limited"
    assert body["error"]["retry_after_s"] == 60
    assert world.headers["Retry-After"] == "60"


@pytest.mark.parametrize(
    "number", ["+49 1511 2345678", "+49-1511-2345678", "0049 151 12345678", "(+49)1511/2345678"]
)
async def test_numbers_are_taken_as_people_write_them(number: str) -> None:
    async with running(default_region="DE") as world:
        status, _ = await world.post("/v1/signup/pin", {"number": number})
        assert status == 202
        assert world.sender.sent[0][0] == NUMBER


async def test_a_number_without_country_code_needs_a_default_region(world: SignUpWorld) -> None:
    status, body = await world.post("/v1/signup/pin", {"number": "01511 2345678"})
    assert (status, body["error"]["code"]) == (422, "bad-number")
    assert "country code" in body["error"]["message"]
    async with running(default_region="DE") as german:
        status, _ = await german.post("/v1/signup/pin", {"number": "01511 2345678"})
        assert status == 202
        assert german.sender.sent[0][0] == NUMBER


@pytest.mark.parametrize(
    "number",
    [
        "",
        "+",
        "hello",
        "+49",
        "+49123",
        "+493012345678",  # a fixed line
        "+49110",
        "+4980012345678",  # toll free
        "+4990012345678",  # premium rate
        "+999123456789",
        "+4915112345678 ext. 12",
        "tel:+4915112345678;ext=5",
        "+491511234567812345678",
        "\x00+4915112345678\x00x",
        "+49 1511 2345678; DROP TABLE account",
        "٣" * 20,
    ],
)
async def test_what_is_no_mobile_number_is_refused_and_nothing_is_asked(
    world: SignUpWorld, number: str
) -> None:
    for path in ("/v1/signup/pin", "/v1/signup/verify"):
        status, body = await world.post(path, {"number": number, "pin": "12345"})
        assert (status, body["error"]["code"]) == (422, "bad-number")
        assert body["error"]["message"].endswith(".")
    assert world.asked == []


async def test_pins_can_be_longer() -> None:
    async with running(signup=SignupLimits(pin_digits=8)) as world:
        assert re.fullmatch(r"[0-9]{8}", await world.pin())


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
    [
        (Busy(), 503, "busy"),
        (Unready("disk full: /secret/path"), 503, "try-again"),
        (TimeoutError(), 503, "busy"),
        (ZeroDivisionError("secret"), 500, "internal"),
    ],
)
async def test_trouble_inside_is_told_by_name_without_details(
    world: SignUpWorld, trouble: Exception, status: int, code: str
) -> None:
    world.trouble = trouble
    answer = await world.post("/v1/signup/pin", {"number": NUMBER})
    assert (answer[0], answer[1]["error"]["code"]) == (status, code)
    assert "secret" not in str(answer)


async def test_an_answer_that_nobody_foresaw_is_internal() -> None:
    async def ask(*_: object) -> ToSession:
        return Rejected("internal")

    async with running(ask=ask) as world:
        status, body = await world.post("/v1/signup/verify", {"number": NUMBER, "pin": "1"})
        assert (status, body["error"]["code"]) == (500, "internal")
