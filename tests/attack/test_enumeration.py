"""Who exists is told to nobody outside: the same bytes and the same work for all."""

import hmac
import re
from pathlib import Path

import pytest

from tests.edge.house import House, hello_of, house
from tests.edge.http.sign_up_world import running
from whimbrel.domain.answers import Rejected
from whimbrel.domain.effects import Push
from whimbrel.domain.limits import Limits
from whimbrel.domain.messages import Hello
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Device, User
from whimbrel.logic import devices
from whimbrel.protocol import wire

NOBODY = "+4915199999999"


async def answer_to(home: House, hello: wire.Hello) -> bytes:
    """All bytes until the end, with the number of the session (the last field) made the same."""
    stranger = await home.stranger()
    stranger.send(hello)
    data = await stranger.reader.read()
    return re.sub(rb"[\xa1-\xaf\xb0-\xbf][0-9a-f]+$", b"#", data)


async def test_at_login_nobody_learns_which_accounts_and_devices_exist(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        hellos = [
            hello_of(2, key="wrong"),
            hello_of(0, key="wrong"),  # online now
            hello_of(2, device=7),
            hello_of(2, account=NOBODY),
            hello_of(2, account="nobody.of.that.name"),
            hello_of(2, account="no address!"),
        ]
        answers = {await answer_to(home, hello) for hello in hellos}
        assert len(answers) == 1, answers
        assert b"not-authorized" in answers.pop()


@pytest.mark.parametrize("known", ["device", "other device", "no account"])
def test_a_wrong_key_costs_one_comparison_and_leaves_nothing_behind(
    known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(len(a))
        return hmac.compare_digest(a, b)

    monkeypatch.setattr(devices, "compare_digest", compare)
    user = User(2**40)
    if known != "no account":
        user.devices[1 if known == "device" else 2] = Device(1, b"k" * 32, "")
    for key_hash in (b"w" * 32, bytes(32)):
        effects = devices.on_hello(user, Hello(1, 9, key_hash, 0, 0), Turn(1, 1, Limits()))
        assert effects == [Push(9, Rejected("not-authorized"))]
    assert compared == [32, 32]
    assert not user.attached


async def test_at_sign_up_nobody_learns_which_numbers_have_an_account() -> None:
    """Byte for byte; only the time of day is made the same."""
    async with running() as world:
        pin = await world.pin()
        body = {"number": "+4915112345678", "pin": pin}
        assert (await world.post("/v1/signup/verify", body))[0] == 201
        world.desk.later(86_400)
        seen = []
        for number in ("+4915112345678", "+4915187654321"):
            for path, more in (("pin", b""), ("verify", b',"pin":"99999x"')):
                data = b'{"number":"%b"%b}' % (number.encode(), more)
                head = (
                    b"POST /v1/signup/%b HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
                    b"Connection: close\r\nContent-Length: %d\r\n\r\n"
                ) % (path.encode(), len(data))
                answer = await world.raw(head + data)
                work = [type(effect).__name__ for effect in world.desk.effects]
                seen.append((re.sub(rb"(Date|X-Request-Id): [^\r]+", rb"\1: -", answer), work))
        assert seen[:2] == seen[2:]
        assert seen[0][0].startswith(b"HTTP/1.1 202 ")
        assert seen[1][0].startswith(b"HTTP/1.1 403 ")


async def test_the_administrators_pages_tell_strangers_nothing() -> None:
    async with running() as world:
        answers = set()
        for path in ("/admin/users/alice", "/admin/users/nobody"):
            status, problem = await world.get(path)
            answers.add((status, problem["error"]["code"]))
        assert answers == {(401, "not-authorized")}
        assert not world.asked
