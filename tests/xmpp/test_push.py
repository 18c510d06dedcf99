"""Push notifications (XEP-0357): who is away is woken, and nothing of the message is told."""

from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

import pytest_asyncio

from tests.xmpp.talk import SM, Talker
from tests.xmpp.test_component import ECHO, Program, Site, site

PUSH, PUBSUB = "urn:xmpp:push:0", "http://jabber.org/protocol/pubsub"
FORM = (
    "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>"
    "<value>http://jabber.org/protocol/pubsub#publish-options</value></field>"
    "<field var='secret'><value>s3</value></field></x>"
)


@pytest_asyncio.fixture
async def town(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path / "data") as opened:
        yield opened


async def enable(talker: Talker, node: str = "n1", jid: str = ECHO) -> Element:
    return await talker.ask(
        "set", f"<enable xmlns='{PUSH}' jid='{jid}' node='{node}'>{FORM}</enable>"
    )


async def disable(talker: Talker, node: str = "") -> Element:
    about = f" node='{node}'" if node else ""
    return await talker.ask("set", f"<disable xmlns='{PUSH}' jid='{ECHO}'{about}/>")


async def woken(program: Program) -> Element:
    return await program.hear("iq", type="set")


async def not_woken(program: Program) -> None:
    await program.quiet()
    assert [each for each in program.heard if each.get("type") == "set"] == []


def node_of(notification: Element) -> str | None:
    publish = notification.find(f"{{{PUBSUB}}}pubsub/{{{PUBSUB}}}publish")
    assert publish is not None
    return publish.get("node")


async def write(sender: Talker, text: str = "the secret word", to: str = "bob") -> None:
    """Until it is stored: then whoever has to be woken was told before."""
    receipt = "<request xmlns='urn:xmpp:receipts'/>"
    await sender.say(
        f"<message to='{to}@localhost' type='chat'><body>{text}</body>{receipt}</message>"
    )
    await sender.say(f"<r xmlns='{SM}'/>")
    await sender.hear("a")


async def away(town: Site) -> tuple[Program, Talker]:
    """bob has switched it on and gone; alice is here."""
    program = await town.program()
    bob = await town.talker("bob", "phone")
    assert (await enable(bob)).get("type") == "result"
    await bob.leave()
    alice = await town.talker("alice")
    await alice.enable()
    return program, alice


async def test_a_message_that_waits_wakes_who_is_away_and_tells_nothing_of_it(town: Site) -> None:
    program, alice = await away(town)
    await write(alice)
    told = await woken(program)
    assert (told.get("from"), told.get("to")) == ("bob@localhost", ECHO)
    assert node_of(told) == "n1"
    assert told.find(f".//{{{PUSH}}}notification") is not None
    options = told.find(f".//{{{PUBSUB}}}publish-options/{{jabber:x:data}}x")
    assert options is not None
    text = tostring(told).decode()
    assert "s3" in text
    assert "secret word" not in text
    assert "alice" not in text


async def test_who_is_here_is_not_woken(town: Site) -> None:
    program = await town.program()
    bob = await town.talker("bob", "phone")
    await enable(bob)
    alice = await town.talker("alice")
    await alice.enable()
    await write(alice)
    await bob.message()
    await not_woken(program)


async def test_many_messages_at_once_wake_once_a_second_at_most(town: Site) -> None:
    program, alice = await away(town)
    for n in range(30):
        await alice.say(f"<message to='bob@localhost'><body>{n}</body></message>")
    await write(alice)
    await woken(program)
    await program.quiet()
    more = [each for each in program.heard if each.get("type") == "set"]
    assert len(more) < 30


async def test_a_session_whose_connection_died_wakes_its_client(town: Site) -> None:
    program = await town.program()
    bob = await town.talker("bob", "phone")
    await bob.enable()
    await enable(bob, "of this session")
    alice = await town.talker("alice")
    await alice.enable()
    bob.wire.abort()
    await town.until(lambda: town.count("xmpp-hibernating") == 1, "the server has noticed")
    await write(alice)
    assert node_of(await woken(program)) == "of this session"


async def test_what_was_written_into_a_dead_connection_wakes_too(town: Site) -> None:
    program = await town.program()
    bob = await town.talker("bob", "phone")
    bob.answers_pings = False
    await bob.enable()
    await enable(bob)
    alice = await town.talker("alice")
    await alice.enable()
    await write(alice)
    await bob.message()  # read, and never acknowledged
    await not_woken(program)
    bob.wire.abort()
    assert node_of(await woken(program)) == "n1"


async def test_it_is_switched_off_by_node_by_component_and_with_a_new_key(town: Site) -> None:
    program = await town.program()
    bob = await town.talker("bob", "phone")
    for node in ("a", "b", "c"):
        await enable(bob, node)
    await disable(bob, "b")
    await bob.leave()
    alice = await town.talker("alice")
    await alice.enable()
    await write(alice)
    assert {node_of(await woken(program)), node_of(await woken(program))} == {"a", "c"}
    bob = await town.talker("bob", "phone")
    await disable(bob)
    await bob.leave()
    await write(alice)
    await not_woken(program)
    bob = await town.talker("bob", "phone")
    await enable(bob)
    await bob.leave()
    await town.account("bob")  # somebody signs up with this name again
    await write(alice)
    await not_woken(program)


async def test_a_component_that_refuses_is_asked_no_more(town: Site) -> None:
    program, alice = await away(town)
    await write(alice)
    told = await woken(program)
    await program.say(
        f"<iq type='error' id='{told.get('id')}' from='{ECHO}' to='bob@localhost'>"
        "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        "</iq>"
    )
    await program.quiet()
    bob = await town.talker("bob", "phone")
    await bob.message()
    await bob.leave()
    await write(alice)
    await not_woken(program)


async def test_it_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    async with site(tmp_path / "data") as town:
        await away(town)
    async with site(tmp_path / "data") as town:
        program = await town.program()
        await town.account("alice")
        alice = await town.talker("alice")
        await alice.enable()
        await write(alice)
        assert node_of(await woken(program)) == "n1"


async def test_only_a_component_of_this_server_can_be_named(town: Site) -> None:
    bob = await town.talker("bob", "phone")
    for jid in ("push.elsewhere.example", "alice@localhost", "localhost", "@"):
        assert (await enable(bob, "n", jid)).get("type") == "error"
    assert (await enable(bob, "")).get("type") == "error"
    assert (await enable(bob, "n" * 1_001)).get("type") == "error"
    answers = [await enable(bob, f"n{n}") for n in range(9)]
    assert [each.get("type") for each in answers] == ["result"] * 8 + ["error"]
