"""A full disk, as an XMPP client meets it: no `<a/>` for what is not stored, a stream that is
closed aloud, and after a resumption everything is there, once and in order.
"""

from pathlib import Path

from bench import accounts
from bench.server import Server
from tests.node.test_disk_full import room, wait_for
from tests.xmpp.talk import CLIENT, SM, Talker, connected
from tests.xmpp.test_kill import log_in

COUNT = 10


async def greeted(server: Server) -> Talker:
    wire = await connected(server.ready, "tls")
    talker = Talker(wire, accounts.address_of(0), "localhost")
    talker.features = await wire.open("localhost")
    return talker


async def say(talker: Talker, numbers: range) -> None:
    for n in numbers:
        await talker.say(
            f"<message to='{accounts.address_of(1)}@localhost' type='chat' id='{n}'>"
            f"<body>{n}</body></message>"
        )


async def test_a_full_disk_acknowledges_nothing_and_a_resumption_finds_it_all(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path)
    accounts.create(server.data, 2, xmpp=True)
    with server:
        wire = await connected(server.ready, "tls")
        alice = Talker(wire, accounts.address_of(0), "localhost")
        alice.features = await wire.open("localhost")
        await alice.login(accounts.key_of(0))
        await alice.bind("r")
        token = (await alice.enable()).get("id")
        room(server, 0)
        await say(alice, range(COUNT))
        await alice.say(f"<r xmlns='{SM}'/>")
        error = await alice.hear("error")
        assert error[0].tag.endswith("}resource-constraint")
        assert not any(heard.tag == f"{{{SM}}}a" for heard in alice.heard)
        stranger = await connected(server.ready, "tls")
        assert (await stranger.open("localhost"))[0].tag.endswith("}resource-constraint")
        room(server, -1)
        await wait_for(server, 200)
        again = await greeted(server)
        await again.login(accounts.key_of(0))
        await again.say(f"<resume xmlns='{SM}' previd='{token}' h='0'/>")
        resumed = await again.hear("resumed")
        # What had not been read when the stream was closed is not counted, and said again.
        await say(again, range(int(resumed.get("h") or 0), COUNT))
        bob = await log_in(server, 1)
        shown: list[str] = []
        while len(shown) < COUNT:
            element = await bob.next()
            if element.tag == f"{{{CLIENT}}}message":
                shown.append(element.findtext(f"{{{CLIENT}}}body") or "")
        assert shown == [str(n) for n in range(COUNT)]
