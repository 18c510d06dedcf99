"""What aiohttp cannot parse: our error form, and nothing of it in the log or the answer."""

import pytest

from tests.edge.http.sign_up_world import running

SECRET = b"Bearer-of-a-secret-token"


@pytest.mark.parametrize(
    "data",
    [
        b"GET /admin/users HTTP/1.1\r\nHost: x\r\nAuthorization" + SECRET + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01" + SECRET + b"\r\n\r\n",
        b"POST /v1/signup/verify HTTP/9.9\r\n\r\n" + SECRET,
    ],
)
async def test_a_request_that_cannot_be_parsed_is_refused_and_not_repeated(
    data: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running() as world:
        answer = await world.raw(data)
        assert b"\r\nServer: whimbrel" in answer
        assert b'{"error":{"code":"bad-message"' in answer
        assert SECRET not in answer
        assert (await world.get("/health"))[0] == 200
    printed = capfd.readouterr()
    assert SECRET.decode() not in caplog.text + printed.out + printed.err
