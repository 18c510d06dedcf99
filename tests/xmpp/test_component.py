"""Components (XEP-0114): greeting, messages both ways, waiting, marks, presence, rooms."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
import pytest_asyncio
import slixmpp
from slixmpp.componentxmpp import ComponentXMPP

from tests.xmpp.house import House, house
from tests.xmpp.talk import CLIENT, STREAM, Talker, Tcp
from whimbrel.edge.xmpp.settings import XmppSettings

COMPONENT = "jabber:component:accept"
ECHO, ROOMS = "echo.localhost", "rooms.localhost"
SECRET = "between the two of us"
RECEIPT = "urn:xmpp:receipts"
SETTINGS = XmppSettings(components={ECHO: SECRET, ROOMS: SECRET})


class Program(Talker):
    """A component. What it hears is read as if it stood in jabber:client."""

    async def greet(self, secret: str = SECRET) -> Element:
        assert isinstance(self.wire, Tcp)
        await self.wire.send(
            f"<?xml version='1.0'?><stream:stream xmlns='{COMPONENT}' xmlns:stream='{STREAM}'"
            f" to='{self.domain}'>"
        )
        while not self.wire.header:
            self.wire._parser.feed(await self.wire.reader.read(1))
            for _, element in self.wire._parser.read_events():
                self.wire._depth += 1
                self.wire._root = element
                self.wire.header = dict(element.attrib)
        text = self.wire.header["id"] + secret
        said = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        await self.say(f"<handshake>{said}</handshake>")
        return await self.next()

    async def next(self) -> Element:
        while True:
            element = await self.wire.next()
            for each in element.iter():
                each.tag = each.tag.replace(COMPONENT, CLIENT)
            id = element.get("id", "")
            if not self.answers_pings or not id.startswith("whimbrel-ping-"):
                return element
            await self.say(
                f"<iq type='result' id='{id}' from='{self.domain}' to='{element.get('from')}'/>"
            )
            self._asked.set()

    async def quiet(self) -> None:
        await self.say(
            f"<iq type='get' id='q' from='{self.domain}' to='localhost'>"
            "<ping xmlns='urn:xmpp:ping'/></iq>"
        )
        await self.hear("iq", id="q")


class Site(House):
    async def program(self, domain: str = ECHO) -> Program:
        program = await self.unknown(domain)
        answer = await program.greet()
        assert answer.tag == f"{{{CLIENT}}}handshake", answer.tag
        return program

    async def unknown(self, domain: str) -> Program:
        port = self.ports["xmpp_component"]
        program = Program(Tcp(*await asyncio.open_connection("127.0.0.1", port)), "", domain)
        self._talkers.append(program)
        return program


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    async with house(folder, SETTINGS) as home:
        home.__class__ = Site
        assert isinstance(home, Site)
        yield home


@pytest_asyncio.fixture
async def town(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path / "data") as opened:
        yield opened


def condition(error: Element) -> str:
    return error[0].tag.partition("}")[2]


async def test_a_wrong_secret_an_unknown_domain_and_no_handshake_are_refused(town: Site) -> None:
    program = await town.unknown(ECHO)
    assert condition(await program.greet("not this one")) == "not-authorized"
    program = await town.unknown("other.localhost")
    assert condition(await program.greet()) == "host-unknown"
    program = await town.unknown(ECHO)
    await program.wire.send(
        f"<stream:stream xmlns='{COMPONENT}' xmlns:stream='{STREAM}' to='{ECHO}'>"
        f"<message from='{ECHO}' to='alice@localhost'><body>hi</body></message>"
    )
    assert condition(await program.next()) == "not-authorized"
    program = await town.unknown(ECHO)
    await program.wire.send(f"<stream:stream xmlns='{CLIENT}' xmlns:stream='{STREAM}' to='{ECHO}'>")
    assert condition(await program.next()) == "invalid-namespace"


@pytest.mark.parametrize(
    ("stanza", "named"),
    [
        ("<message from='bot@elsewhere' to='alice@localhost'/>", "invalid-from"),
        ("<message to='alice@localhost'/>", "invalid-from"),
        (f"<message from='bot@{ECHO}'/>", "improper-addressing"),
        (f"<strange from='bot@{ECHO}' to='alice@localhost'/>", "unsupported-stanza-type"),
    ],
)
async def test_stanzas_name_both_ends(town: Site, stanza: str, named: str) -> None:
    program = await town.program()
    await program.say(stanza)
    assert condition(await program.hear("error")) == named


async def test_messages_go_both_ways_from_any_address_of_the_domain(town: Site) -> None:
    program = await town.program()
    alice = await town.talker("alice", "phone")
    await alice.say(f"<message to='bot@{ECHO}/shell' type='chat'><body>ls</body></message>")
    got = await program.hear("message")
    assert (got.get("from"), got.get("to")) == (alice.jid, f"bot@{ECHO}/shell")
    assert got.findtext(f"{{{CLIENT}}}body") == "ls"
    await program.say(
        f"<message from='bot@{ECHO}/shell' to='alice@localhost' type='chat'><body>none</body>"
        f"</message><message xmlns='{COMPONENT}' from='{ECHO}' to='{alice.jid}' type='chat'>"
        "<body>a &lt; b</body></message>"
    )
    assert await alice.message() == (f"bot@{ECHO}/shell", "none")
    assert await alice.message() == (ECHO, "a < b")


async def test_what_comes_while_it_is_away_waits_in_order_and_comes_once(town: Site) -> None:
    alice = await town.talker("alice")
    program = await town.program()
    program.wire.abort()
    for n in range(20):
        await alice.say(f"<message to='u{n % 3}@{ECHO}' id='m{n}'><body>{n}</body></message>")
    await alice.quiet()
    program = await town.program()
    for n in range(20):
        got = await program.hear("message")
        assert (got.get("to"), got.get("id")) == (f"u{n % 3}@{ECHO}", f"m{n}")
    await program.asked()
    await program.quiet()
    program.wire.abort()
    program = await town.program()
    await program.quiet()
    assert [each for each in program.heard if each.tag.endswith("message")] == []


async def test_what_it_had_not_confirmed_comes_again(town: Site) -> None:
    alice = await town.talker("alice")
    program = await town.program()
    program.answers_pings = False
    await alice.say(f"<message to='bot@{ECHO}'><body>one</body></message>")
    await program.hear("message")
    program.wire.abort()
    program = await town.program()
    assert await program.message() == (alice.jid, "one")


async def test_receipts_are_true_in_both_directions(town: Site) -> None:
    program = await town.program()
    alice = await town.talker("alice")
    await alice.say(
        f"<message to='bot@{ECHO}' id='a1' type='chat'><body>hi</body>"
        f"<request xmlns='{RECEIPT}'/></message>"
    )
    await program.hear("message")
    await program.asked()
    receipt = await alice.hear("message", from_=f"bot@{ECHO}")
    assert receipt[0].get("id") == "a1"
    await program.say(
        f"<message from='bot@{ECHO}/x' to='alice@localhost' id='c1' type='chat'><body>hi</body>"
        f"<request xmlns='{RECEIPT}'/></message>"
    )
    await alice.message()
    await alice.asked()
    receipt = await program.hear("message")
    assert (receipt.get("from"), receipt.get("to")) == ("alice@localhost", f"bot@{ECHO}/x")
    assert receipt[0].get("id") == "c1"


async def test_messages_to_nobody_come_back_to_the_address_that_sent_them(town: Site) -> None:
    program = await town.program()
    await program.say(
        f"<message from='bot@{ECHO}' to='nobody@localhost' id='n'><body>hi</body></message>"
    )
    error = await program.hear("message", type="error")
    assert (error.get("to"), error.get("id")) == (f"bot@{ECHO}", "n")
    await program.say(
        f"<iq from='bot@{ECHO}' to='nobody@localhost/x' type='get' id='v'>"
        "<query xmlns='jabber:iq:version'/></iq>"
    )
    answer = await program.hear("iq", id="v")
    assert (answer.get("to"), answer.get("type")) == (f"bot@{ECHO}", "error")
    await program.say(f"<message from='bot@{ECHO}' to='a@elsewhere'><body>hi</body></message>")
    error = await program.hear("message", type="error")
    assert error.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}remote-server-not-found") is not None


async def test_it_may_write_to_more_strangers_than_a_person(town: Site) -> None:
    limits = town.node.config.limits
    program = await town.program()
    count = limits.new_contacts_per_hour + 5
    await program.say(
        "".join(
            f"<message from='bot@{ECHO}' to='nobody{n}@localhost' id='n{n}'>"
            "<body>x</body></message>"
            for n in range(count)
        )
    )
    for n in range(count):
        error = await program.hear("message", id=f"n{n}")
        found = error.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}service-unavailable")
        assert found is not None


async def test_requests_and_their_answers_pass_both_ways(town: Site) -> None:
    program = await town.program()
    alice = await town.talker("alice", "phone")
    await alice.say(
        f"<iq to='{ECHO}' type='get' id='d'>"
        "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    )
    asked = await program.hear("iq", type="get")
    assert (asked.get("from"), asked.get("to")) == (alice.jid, ECHO)
    await program.say(
        f"<iq from='{ECHO}' to='{alice.jid}' type='result' id='d'><query"
        " xmlns='http://jabber.org/protocol/disco#info'><identity category='component'"
        " type='generic' name='Echo'/></query></iq>"
    )
    answer = await alice.hear("iq", id="d")
    assert answer[0][0].get("name") == "Echo"
    await program.say(
        f"<iq from='bot@{ECHO}' to='{alice.jid}' type='get' id='p'>"
        "<ping xmlns='urn:xmpp:ping'/></iq>"
    )
    asked = await alice.hear("iq", id="p")
    await alice.say(f"<iq type='result' id='p' to='{asked.get('from')}'/>")
    answer = await program.hear("iq", id="p")
    assert (answer.get("from"), answer.get("to")) == (alice.jid, f"bot@{ECHO}")
    await program.say(
        f"<iq from='{ECHO}' to='alice@localhost' type='set' id='r'>"
        "<query xmlns='jabber:iq:roster'><item jid='x@localhost'/></query></iq>"
    )
    assert (await program.hear("iq", id="r")).get("type") == "error"


async def test_the_server_lists_it_while_it_is_here_and_refuses_for_it_while_it_is_not(
    town: Site,
) -> None:
    alice = await town.talker("alice")
    items = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
    program = await town.program()
    listed = await alice.ask("get", items, "localhost")
    assert ECHO in {each.get("jid") for each in listed[0]}
    program.wire.abort()
    await town.until(lambda: not town.node.hub.components, "the component is gone")
    listed = await alice.ask("get", items, "localhost")
    assert ECHO not in {each.get("jid") for each in listed[0]}
    assert (await alice.ask("get", items, ECHO)).get("type") == "error"


async def test_subscriptions_and_presence_cross(town: Site) -> None:
    program = await town.program()
    alice = await town.talker("alice", "phone")
    bot = f"bot@{ECHO}"
    await alice.say(f"<presence to='{bot}' type='subscribe'/>")
    asked = await program.hear("presence", type="subscribe")
    assert (asked.get("from"), asked.get("to")) == ("alice@localhost", bot)
    await program.say(
        f"<presence from='{bot}' to='alice@localhost' type='subscribed'/>"
        f"<presence from='{bot}' to='alice@localhost' type='subscribe'/>"
        f"<presence from='{bot}/x' to='alice@localhost'><status>awake</status></presence>"
    )
    await alice.hear("presence", type="subscribed")
    await alice.hear("presence", type="subscribe")
    shown = await alice.hear("presence", from_=f"{bot}/x")
    assert shown.findtext(f"{{{CLIENT}}}status") == "awake"
    await alice.say(f"<presence to='{bot}' type='subscribed'/>")
    await program.hear("presence", type="subscribed")
    here = await program.hear("presence", from_=alice.jid)
    assert here.get("to") == bot
    roster = await alice.ask("get", "<query xmlns='jabber:iq:roster'/>")
    assert [(i.get("jid"), i.get("subscription")) for i in roster[0]] == [(bot, "both")]
    again = await town.talker("alice", "desk")
    probe = await program.hear("presence", type="probe")
    assert (probe.get("from"), probe.get("to")) == ("alice@localhost", bot)
    await again.leave()
    gone = await program.hear("presence", type="unavailable")
    assert (gone.get("from"), gone.get("to")) == (again.jid, bot)
    await program.say(f"<presence from='{bot}' to='alice@localhost' type='probe'/>")
    here = await program.hear("presence", from_=alice.jid)
    assert here.get("type") is None


async def test_a_room_of_a_component_can_be_entered_and_left(town: Site) -> None:
    program = await town.program(ROOMS)
    alice = await town.talker("alice", "phone")
    room = f"tea@{ROOMS}"
    await alice.say(
        f"<presence to='{room}/ali'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    )
    entered = await program.hear("presence", from_=alice.jid)
    assert entered.get("to") == f"{room}/ali"
    await program.say(f"<presence from='{room}/ali' to='{alice.jid}'/>")
    await alice.hear("presence", from_=f"{room}/ali")
    await alice.say(f"<message to='{room}' type='groupchat' id='g'><body>hello</body></message>")
    said = await program.hear("message", type="groupchat")
    assert (said.get("from"), said.get("to")) == (alice.jid, room)
    await program.say(
        f"<message from='{room}/ali' to='{alice.jid}' type='groupchat' id='g'>"
        "<body>hello</body></message>"
    )
    heard = await alice.hear("message", type="groupchat")
    assert heard.get("from") == f"{room}/ali"
    await alice.leave()
    gone = await program.hear("presence", type="unavailable")
    assert (gone.get("from"), gone.get("to")) == (alice.jid, f"{room}/ali")


async def test_two_components_talk_to_each_other(town: Site) -> None:
    echo, rooms = await town.program(ECHO), await town.program(ROOMS)
    await echo.say(f"<message from='a@{ECHO}' to='b@{ROOMS}' id='1'><body>hi</body></message>")
    got = await rooms.hear("message", id="1")
    assert (got.get("from"), got.get("to")) == (f"a@{ECHO}", f"b@{ROOMS}")
    await rooms.say(f"<presence from='b@{ROOMS}' to='a@{ECHO}' type='subscribe'/>")
    asked = await echo.hear("presence", type="subscribe")
    assert (asked.get("from"), asked.get("to")) == (f"b@{ROOMS}", f"a@{ECHO}")


async def test_a_second_connection_of_the_same_component_replaces_the_first(town: Site) -> None:
    first = await town.program()
    second = await town.program()
    assert condition(await first.hear("error")) == "conflict"
    alice = await town.talker("alice")
    await alice.say(f"<message to='bot@{ECHO}'><body>to whom?</body></message>")
    assert await second.message() == (alice.jid, "to whom?")


async def test_who_blocks_its_domain_hears_nothing_of_it(town: Site) -> None:
    program = await town.program()
    alice = await town.talker("alice")
    block = "<block xmlns='urn:xmpp:blocking'><item jid='{}'/></block>"
    refused = await alice.ask("set", block.format(f"bot@{ECHO}"))
    assert refused.get("type") == "error"
    assert (await alice.ask("set", block.format(ECHO))).get("type") == "result"
    await program.say(
        f"<message from='bot@{ECHO}' to='alice@localhost' type='chat'><body>buy</body></message>"
    )
    await program.quiet()
    await alice.quiet()
    assert [each for each in alice.heard if each.tag.endswith("message")] == []


async def test_messages_outlive_a_restart_of_the_server(tmp_path: Path) -> None:
    async with site(tmp_path / "data") as town:
        (await town.program()).wire.abort()
        await town.until(lambda: not town.node.hub.components, "the component is gone")
        alice = await town.talker("alice", "phone")
        await alice.enable()
        await alice.say(f"<message to='bot@{ECHO}' id='kept'><body>kept</body></message>")
        await alice.say("<r xmlns='urn:xmpp:sm:3'/>")
        while (await alice.hear("a")).get("h") != "1":
            await alice.say("<r xmlns='urn:xmpp:sm:3'/>")
    async with site(tmp_path / "data") as town:
        program = await town.program()
        assert (await program.hear("message")).get("id") == "kept"


async def test_slixmpp_is_a_component(town: Site) -> None:
    port = town.ports["xmpp_component"]
    echo = ComponentXMPP(ECHO, SECRET, "127.0.0.1", port)  # type: ignore[no-untyped-call]
    ready = asyncio.Event()

    def echoed(message: slixmpp.Message) -> None:
        if message["type"] != "error":
            answer = message.reply(f"you said: {message['body']}")  # type: ignore[no-untyped-call]
            answer.send()

    echo.add_event_handler("session_start", lambda _: ready.set())
    echo.add_event_handler("message", echoed)
    echo.register_plugin("xep_0030")
    echo.connect()
    async with asyncio.timeout(20):
        await ready.wait()
    alice = await town.talker("alice")
    await alice.say(f"<message to='bot@{ECHO}' type='chat'><body>hello</body></message>")
    assert await alice.message() == (f"bot@{ECHO}", "you said: hello")
    await echo.disconnect()
