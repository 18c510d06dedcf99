"""A client that stops reading costs a bounded queue, nobody else's time, and no message."""

from pathlib import Path

from tests.xmpp.house import house
from tests.xmpp.talk import Tcp
from whimbrel.domain.limits import Limits

COUNT = 1_500
TEXT = "x" * 400


async def test_a_reader_that_stops_gets_everything_later_in_order_once(tmp_path: Path) -> None:
    limits = Limits(window_items_max=100)
    async with house(tmp_path / "data", limits=limits) as home:
        bob = await home.talker("bob", "b")
        assert isinstance(bob.wire, Tcp)
        await bob.enable()
        await bob.say("<presence/>")  # what was asked before is answered: he is quiet now
        await bob.quiet()
        bob.wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        alice, carl = await home.talker("alice", "a"), await home.talker("carl", "c")
        for n in range(COUNT):
            await alice.say(
                f"<message to='bob@localhost' type='chat'><body>{n} {TEXT}</body></message>"
            )
        await alice.quiet()
        await alice.say("<message to='carl@localhost' type='chat'><body>you?</body></message>")
        assert (await carl.message())[1] == "you?"
        session = next(each for each in home.node.hub.sessions.values() if each.resource == "b")
        assert session.waiting <= 2 * limits.window_items_max
        bob.wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
        shown: list[str] = []
        handled = 0
        while len(shown) < COUNT:
            element = await bob.next()
            if element.tag.endswith("}r"):
                await bob.say(f"<a xmlns='urn:xmpp:sm:3' h='{handled}'/>")
                continue
            handled += element.tag.endswith(("}message", "}iq", "}presence"))
            body = element.find("{jabber:client}body")
            if body is not None:
                shown.append((body.text or "").partition(" ")[0])
        assert shown == [str(n) for n in range(COUNT)]
