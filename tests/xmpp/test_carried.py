"""XMPP sessions over a restart (XEP-0198): they resume on the next node as after a lost network.

The next node stands in the same process; that the same goes from one process to another is shown by
tests/node/test_restart.py.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench.raw import RawClient, client_context, connect
from tests.xmpp.house import DOMAIN, EVERY_PORT, House
from tests.xmpp.talk import CLIENT, SM, Ended, Talker
from whimbrel.domain.limits import Limits
from whimbrel.edge.sockets import ListenSockets
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Restart
from whimbrel.node.samples import NO_PROBE
from whimbrel.protocol import wire


class Moving:
    """A house whose node is followed by another one."""

    def __init__(self, folder: Path, settings: Restart | None = None) -> None:
        self.folder = folder
        self.sockets = ListenSockets()
        self.config = Config(
            probe=NO_PROBE,
            domain=DOMAIN,
            listen=EVERY_PORT,
            limits=Limits(idle_ping_s=3600.0),
            restart=settings or Restart(),
        )

    async def __aenter__(self) -> "Moving":
        node = Node(self.config, self.folder, self.sockets)
        await node.start()
        self.home = House(node)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.home.close()
        await self.home.node.stop()
        self.sockets.close()

    async def move(self) -> None:
        handed = await self.home.node.hand_over()
        node = Node(self.config, self.folder, self.sockets)
        await node.start(handed.lock, handed.carried)
        old, self.home.node = self.home.node, node
        await old.see_off()


class Phone:
    """Counts what it has, as XEP-0198 wants it."""

    def __init__(self, talker: Talker, token: str) -> None:
        self.talker = talker
        self.token = token
        self.h = 0

    @classmethod
    async def at(cls, home: House, name: str, transport: str = "tls") -> "Phone":
        talker = await home.unbound(name, transport)
        await talker.bind("phone")
        enabled = await talker.enable()
        phone = cls(talker, enabled.get("id", ""))
        await talker.say("<presence/>")
        await phone.hear("presence")
        return phone

    async def hear(self, kind: str) -> str:
        """The next of this kind; its body. Everything is counted, questions are not answered."""
        while True:
            element = await self.talker.wire.next()
            if element.tag.startswith(f"{{{CLIENT}}}"):
                self.h += 1
                if element.tag == f"{{{CLIENT}}}{kind}":
                    return element.findtext(f"{{{CLIENT}}}body") or ""

    async def ended(self) -> str:
        """Until the server ends the stream; the condition it names."""
        said = ""
        try:
            while True:
                element = await self.talker.wire.next()
                if element.tag.endswith("}error"):
                    said = element[0].tag.partition("}")[2]
        except Ended:
            return said

    async def resume(self, home: House, transport: str = "tls") -> int:
        """The number of its stanzas that the server has."""
        self.talker = await home.unbound(self.talker.name, transport)
        await self.talker.say(f"<resume xmlns='{SM}' previd='{self.token}' h='{self.h}'/>")
        answer = await self.talker.wire.next()
        assert answer.tag == f"{{{SM}}}resumed", answer.tag
        return int(answer.get("h", ""))

    async def write(self, to: str, text: str) -> None:
        await self.talker.say(
            f"<message to='{to}@{DOMAIN}' type='chat' id='{text}'><body>{text}</body></message>"
        )


@pytest.mark.parametrize("transport", ["tls", "websocket"])
async def test_both_ends_resume_and_nothing_is_missing_or_comes_twice(
    tmp_path: Path, transport: str
) -> None:
    async with Moving(tmp_path) as house:
        alice = await Phone.at(house.home, "alice", transport)
        bob = await Phone.at(house.home, "bob", transport)
        await alice.write("bob", "one")
        assert await bob.hear("message") == "one"
        await alice.write("bob", "two")
        await house.home.until(lambda: house.home.node.engine.quiet, "stored")
        await house.move()
        assert await alice.ended() == "system-shutdown"
        # Alice writes on before she is back, as clients do: what the server does not count is
        # said again.
        assert await alice.resume(house.home, transport) == 3  # a presence, two messages
        await alice.write("bob", "three")
        assert await bob.resume(house.home, transport) == 1
        assert [await bob.hear("message") for _ in range(2)] == ["two", "three"]
        await bob.write("alice", "four")
        assert await alice.hear("message") == "four"
        assert house.home.count("xmpp-resumed") == 2


async def test_what_came_while_the_client_was_away_waits_in_its_session(tmp_path: Path) -> None:
    async with Moving(tmp_path) as house:
        alice = await Phone.at(house.home, "alice")
        bob = await Phone.at(house.home, "bob")
        bob.talker.wire.abort()
        await alice.write("bob", "before")
        await house.home.until(lambda: house.home.node.engine.quiet, "stored")
        await house.move()
        await alice.resume(house.home)
        await alice.write("bob", "after")
        await house.home.until(lambda: house.home.node.engine.quiet, "stored")
        await bob.resume(house.home)
        assert [await bob.hear("message") for _ in range(2)] == ["before", "after"]


async def test_over_two_restarts_and_then_a_goodbye_the_resource_is_gone(tmp_path: Path) -> None:
    async with Moving(tmp_path) as house:
        alice = await Phone.at(house.home, "alice")
        bob = await Phone.at(house.home, "bob")
        await house.move()
        await house.move()
        await alice.resume(house.home)
        await bob.resume(house.home)
        await alice.write("bob", "one")
        assert await bob.hear("message") == "one"
        await bob.talker.say(f"<a xmlns='{SM}' h='{bob.h}'/>")
        await bob.talker.leave()
        await alice.write("bob", "two")
        await house.home.until(lambda: house.home.node.engine.quiet, "stored")
        again = await Phone.at(house.home, "bob")
        assert await again.hear("message") == "two", "the old resource is not in the way"


async def test_a_client_that_never_comes_back_loses_nothing(tmp_path: Path) -> None:
    async with Moving(tmp_path) as house:
        alice = await Phone.at(house.home, "alice")
        bob = await Phone.at(house.home, "bob")
        await alice.write("bob", "one")
        assert await bob.hear("message") == "one"  # and does not acknowledge it
        await house.move()
        await bob.ended()
        other = await Phone.at(house.home, "bob")
        assert await other.hear("message") == "one", "what was not acknowledged comes again"


async def test_nobody_else_resumes_a_session_that_was_carried(tmp_path: Path) -> None:
    async with Moving(tmp_path) as house:
        bob = await Phone.at(house.home, "bob")
        await house.move()
        mallory = await house.home.unbound("mallory")
        await mallory.say(f"<resume xmlns='{SM}' previd='{bob.token}' h='0'/>")
        assert (await mallory.wire.next()).tag == f"{{{SM}}}failed"
        await bob.resume(house.home)


async def test_sessions_that_another_version_wrote_are_left_and_clients_bind_anew(
    tmp_path: Path,
) -> None:
    async with Moving(tmp_path) as house:
        bob = await Phone.at(house.home, "bob")
        handed = await house.home.node.hand_over()
        node = Node(house.config, house.folder, house.sockets)
        await node.start(handed.lock, b"\x93something else")
        house.home.node = node
        talker = await house.home.unbound("bob")
        await talker.say(f"<resume xmlns='{SM}' previd='{bob.token}' h='{bob.h}'/>")
        assert (await talker.wire.next()).tag == f"{{{SM}}}failed"
        await talker.bind("phone")


async def test_clients_of_our_own_are_told_to_come_back_one_after_the_other(
    tmp_path: Path,
) -> None:
    """So many in each second as the configuration says."""
    async with Moving(tmp_path, Restart(logins_per_s=2)) as house:
        waits: list[int] = []

        def heard(client: RawClient, messages: list[Any]) -> None:
            waits.extend(m.retry_after for m in messages if isinstance(m, wire.Error) and m.fatal)

        clients = []
        for n in range(5):
            key = await house.home.account(f"phone-{n}")
            device = house.home.devices[f"phone-{n}"]
            clients.append(RawClient(f"phone-{n}", key, device, client_context(), heard))
            await connect(clients[-1], "127.0.0.1", house.home.ports["native"])
        await house.move()
        async with asyncio.timeout(20):
            await asyncio.gather(*(client.closed for client in clients))
        assert sorted(waits) == [0, 0, 1, 1, 2]
