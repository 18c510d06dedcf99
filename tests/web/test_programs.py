"""A browser and our Python client: the same protocol on two transports."""

import pytest

from bench.server import Server
from tests.web.person import READ, Arrive
from tests.web.program import next_number, sign_up
from whimbrel.client.client import Client
from whimbrel.client.trust import Pinned

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("web")]


async def test_a_browser_and_the_python_client_chat(arrive: Arrive, shared_server: Server) -> None:
    anna = await arrive(signed_up=True)
    number = next_number()
    signed = await sign_up(shared_server, number)
    trust = Pinned(signed["fingerprint"])
    port = shared_server.ready["native"]
    async with Client(
        number, signed["device"], signed["key"], "127.0.0.1", port, trust=trust
    ) as ben:
        sent = await ben.send(anna.number, "from a terminal: \u00e4\u6f22\U0001f426")
        await sent.delivered
        await anna.open_chat()
        await anna.sees("from a terminal: \u00e4\u6f22\U0001f426")
        await sent.read
        await anna.say("from a browser")
        message = await anext(ben.messages())
        assert (message.sender, message.text) == (anna.number, "from a browser")
        ben.messages().handled()
        ben.read(anna.number, message.id)
        await anna.marked("from a browser", READ)
