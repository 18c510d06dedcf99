"""Smaller features, each as a client uses it."""

import pytest

from tests.edge.house import until
from tests.xmpp.house import House, house
from tests.xmpp.talk import CLIENT, LoginRefused, Talker, shown
from whimbrel.edge.xmpp.settings import XmppSettings
from whimbrel.node.acts import ActLog

DISCO = "http://jabber.org/protocol/disco#info"


async def carbons(who: Talker) -> None:
    answer = await who.ask("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
    assert answer.get("type") == "result"


async def test_carbons_of_what_is_sent_and_of_what_is_for_another_client(home: House) -> None:
    one, two = await home.talker("bob", "one"), await home.talker("bob", "two")
    alice = await home.talker("alice", "a")
    await carbons(two)
    await one.say("<message to='alice@localhost' type='chat' id='m1'><body>hi</body></message>")
    await alice.message()
    copy = await two.hear("message")
    sent = copy.find("{urn:xmpp:carbons:2}sent")
    assert sent is not None, shown(copy)
    inside = sent[0][0]
    assert (inside.get("from"), inside.get("to"), inside.get("id")) == (
        "bob@localhost/one",
        "alice@localhost",
        "m1",
    )
    await alice.say("<message to='bob@localhost/one' type='chat'><body>to one</body></message>")
    assert (await one.message())[1] == "to one"
    copy = await two.hear("message")
    received = copy.find("{urn:xmpp:carbons:2}received")
    assert received is not None, shown(copy)
    assert received[0][0].findtext(f"{{{CLIENT}}}body") == "to one"


async def test_receipts_and_markers_come_from_our_own_marks(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await alice.say(
        "<message to='bob@localhost' type='chat' id='m1'><body>x</body>"
        "<request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/></message>"
    )
    await bob.message()
    await bob.asked()
    told = await alice.hear("message")
    assert told.find("{urn:xmpp:receipts}received").get("id") == "m1"  # type: ignore[union-attr]
    await bob.say(
        "<message to='alice@localhost' type='chat'>"
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/></message>"
    )
    told = await alice.hear("message")
    marker = told.find("{urn:xmpp:chat-markers:0}displayed")
    assert marker is not None
    assert marker.get("id") == "m1"


async def test_payloads_that_the_server_does_not_know_pass_untouched(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    inside = (
        "<body xml:lang='de'>Hallo</body><replace xmlns='urn:xmpp:message-correct:0' id='old'/>"
        "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'><key rid='2'>QQ==</key>"
        "</header></encrypted><x:y xmlns:x='urn:x' x:z='1'>&lt;&#x1F426;</x:y>"
    )
    await alice.say(f"<message to='bob@localhost' type='chat' id='c1'>{inside}</message>")
    message = await bob.hear("message")
    text = shown(message)
    for part in ("Hallo", "message-correct", 'sid="1"', "QQ==", "urn:x", "🐦"):
        assert part in text
    assert message.find("{urn:x}y").get("{urn:x}z") == "1"  # type: ignore[union-attr]


async def test_typing_and_headlines_pass_and_are_not_kept(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await bob.say("<message to='alice@localhost' type='chat'><body>hello</body></message>")
    await alice.message()
    states = "http://jabber.org/protocol/chatstates"
    await alice.say(
        f"<message to='bob@localhost' type='chat'><composing xmlns='{states}'/></message>"
    )
    assert (await bob.hear("message")).find(f"{{{states}}}composing") is not None
    await alice.say("<message to='bob@localhost' type='headline'><body>news</body></message>")
    assert (await bob.hear("message", type="headline")).get("from") == "alice@localhost/a"
    await bob.leave()
    await alice.say("<message to='bob@localhost' type='headline'><body>late</body></message>")
    await alice.say(f"<message to='bob@localhost' type='chat'><paused xmlns='{states}'/></message>")
    await alice.quiet()
    bob = await home.talker("bob", "b")
    await bob.quiet()
    assert [e for e in bob.heard if e.tag.endswith("}message")] == []


async def test_requests_between_clients_and_to_nobody(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await alice.say(
        "<iq type='get' id='q1' to='bob@localhost/b'><query xmlns='jabber:iq:version'/></iq>"
    )
    asked = await bob.hear("iq", type="get")
    assert asked.get("from") == "alice@localhost/a"
    await bob.say(
        "<iq type='result' id='q1' to='alice@localhost/a'><query xmlns='jabber:iq:version'>"
        "<name>bird</name></query></iq>"
    )
    answer = await alice.hear("iq", id="q1")
    assert answer.get("from") == "bob@localhost/b"
    answer = await alice.ask("get", "<query xmlns='jabber:iq:version'/>", "bob@localhost/none")
    assert answer.get("type") == "error"
    assert "service-unavailable" in shown(answer)
    answer = await alice.ask("get", "<query xmlns='urn:nobody'/>", "bob@localhost")
    assert "service-unavailable" in shown(answer)
    answer = await alice.ask("get", "<query xmlns='urn:nobody'/>", "elsewhere.example")
    assert "remote-server-not-found" in shown(answer)


@pytest.mark.parametrize(
    ("to", "condition"),
    [
        ("nobody@localhost", "service-unavailable"),
        ("bob@elsewhere.example", "remote-server-not-found"),
        ("localhost", "service-unavailable"),
        ("a@@b", "jid-malformed"),
    ],
)
async def test_a_message_that_cannot_arrive_comes_back(
    home: House, to: str, condition: str
) -> None:
    alice = await home.talker("alice", "a")
    await alice.say(f"<message to='{to}' type='chat' id='m1'><body>x</body></message>")
    error = await alice.hear("message", type="error", id="m1")
    assert condition in shown(error)


async def test_a_message_above_the_limit_comes_back_and_the_next_goes_through(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    big = "x" * 60_000
    await alice.say(f"<message to='bob@localhost' type='chat' id='m1'><body>{big}</body></message>")
    await alice.say("<message to='bob@localhost' type='chat' id='m2'><body>y</body></message>")
    error = await alice.hear("message", type="error", id="m1")
    assert "policy-violation" in shown(error)
    assert (await bob.message())[1] == "y"


async def test_blocking_and_unblocking(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    other = await home.talker("alice", "other")
    for who in (alice, other):
        assert len((await who.ask("get", "<blocklist xmlns='urn:xmpp:blocking'/>"))[0]) == 0
    item = "<item jid='bob@localhost'/>"
    await alice.ask("set", f"<block xmlns='urn:xmpp:blocking'>{item}</block>")
    push = await other.hear("iq", type="set")
    assert push[0].tag == "{urn:xmpp:blocking}block"
    await bob.say("<message to='alice@localhost' type='chat'><body>hey</body></message>")
    await bob.quiet()
    await alice.quiet()
    assert [e for e in alice.heard if e.tag.endswith("}message")] == []
    answer = await alice.ask("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
    assert [each.get("jid") for each in answer[0]] == ["bob@localhost"]
    await alice.ask("set", "<unblock xmlns='urn:xmpp:blocking'/>")
    await bob.say("<message to='alice@localhost' type='chat'><body>again</body></message>")
    assert (await alice.message())[1] == "again"


async def test_vcards_and_private_storage(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    assert len((await alice.ask("get", "<vCard xmlns='vcard-temp'/>"))[0]) == 0
    await alice.ask("set", "<vCard xmlns='vcard-temp'><FN>Alice &amp; co</FN></vCard>")
    card = await bob.ask("get", "<vCard xmlns='vcard-temp'/>", "alice@localhost")
    assert card[0][0].text == "Alice & co"
    answer = await bob.ask("set", "<vCard xmlns='vcard-temp'/>", "alice@localhost")
    assert "forbidden" in shown(answer)
    private = "<query xmlns='jabber:iq:private'>{}</query>"
    stored = private.format("<notes xmlns='urn:notes'><n>1</n></notes>")
    assert (await alice.ask("set", stored)).get("type") == "result"
    got = await alice.ask("get", private.format("<notes xmlns='urn:notes'/>"))
    assert got[0][0][0].text == "1"
    big = private.format(f"<notes xmlns='urn:notes'>{'x' * 200_000}</notes>")
    assert (await alice.ask("set", big)).get("type") == "error"


async def test_discovery_version_time_and_last_activity(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = XmppSettings(
        contacts={"abuse": ("mailto:abuse@example.org",)},
        services=({"type": "turn", "host": "turn.example.org", "port": "3478"},),
    )
    async with house(tmp_path_factory.mktemp("d") / "data", settings) as home:
        alice = await home.talker("alice", "a")
        info = await alice.ask("get", f"<query xmlns='{DISCO}'/>", "localhost")
        assert info[0][0].attrib == {"category": "server", "type": "im", "name": "Whimbrel"}
        assert "mailto:abuse@example.org" in shown(info)
        caps = alice.features.find("{http://jabber.org/protocol/caps}c")  # type: ignore[union-attr]
        assert caps is not None
        node = f"{caps.get('node')}#{caps.get('ver')}"
        again = await alice.ask("get", f"<query xmlns='{DISCO}' node='{node}'/>", "localhost")
        assert len(again[0]) == len(info[0])
        for child in ("<query xmlns='jabber:iq:version'/>", "<time xmlns='urn:xmpp:time'/>"):
            assert (await alice.ask("get", child, "localhost")).get("type") == "result"
        up = await alice.ask("get", "<query xmlns='jabber:iq:last'/>", "localhost")
        assert up[0].get("seconds", "").isdigit()
        services = await alice.ask("get", "<services xmlns='urn:xmpp:extdisco:2'/>", "localhost")
        assert services[0][0].get("host") == "turn.example.org"
        await home.account("bob")
        answer = await alice.ask("get", "<query xmlns='jabber:iq:last'/>", "bob@localhost")
        assert "forbidden" in shown(answer)


async def test_a_new_password_and_the_end_of_an_account(home: House) -> None:
    alice = await home.talker("alice", "a")
    query = "<query xmlns='jabber:iq:register'>{}</query>"
    change = "<username>alice</username><password>{}</password>"
    answer = await alice.ask("set", query.format(change.format("short")))
    assert "not-acceptable" in shown(answer)
    answer = await alice.ask("set", query.format(change.format("a longer password")))
    assert answer.get("type") == "result"
    with pytest.raises(LoginRefused):
        await home.unbound("alice")
    home.keys["alice"] = "a longer password"
    again = await home.talker("alice", "b")
    answer = await again.ask("set", query.format("<remove/>"))
    assert answer.get("type") == "result"
    with pytest.raises(LoginRefused):
        await home.unbound("alice")


async def test_who_is_inactive_hears_of_presence_later_and_of_messages_at_once(
    home: House,
) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await alice.say("<inactive xmlns='urn:xmpp:csi:0'/>")
    await alice.quiet()
    for n in range(5):
        await bob.say(f"<presence to='alice@localhost/a'><status>{n}</status></presence>")
    await bob.say("<message to='alice@localhost' type='chat'><body>x</body></message>")
    assert (await alice.message())[1] == "x"
    assert [e for e in alice.heard if e.get("from") == bob.jid] == []
    await alice.say("<active xmlns='urn:xmpp:csi:0'/>")
    seen = await alice.hear("presence", from_=bob.jid)
    assert seen.findtext(f"{{{CLIENT}}}status") == "4"


async def test_strangers_take_names_only_where_they_may(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    taken = (
        "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{}</username>"
        "<password>{}</password></query></iq>"
    )
    async with house(tmp_path_factory.mktemp("n") / "data") as home:
        stranger = await home.stranger()
        await stranger.say(taken.format("wren", "a good password"))
        assert "not-allowed" in shown(await stranger.next())
    settings = XmppSettings(registration=True)
    async with house(tmp_path_factory.mktemp("y") / "data", settings) as home:
        stranger = await home.stranger()
        assert stranger.features is not None
        assert "iq-register" in shown(stranger.features)
        for name, password, condition in (
            ("wren", "short", "not-acceptable"),
            ("+4915112345678", "a good password", "not-acceptable"),
            ("a b", "a good password", "not-acceptable"),
        ):
            await stranger.say(taken.format(name, password))
            assert condition in shown(await stranger.next())
        await stranger.say(taken.format("wren", "a good password"))
        assert (await stranger.next()).get("type") == "result"
        await stranger.say(taken.format("wren", "another password"))
        assert "conflict" in shown(await stranger.next())
        home.keys["wren"] = "a good password"
        assert await (await home.unbound("wren")).bind("x") == "wren@localhost/x"
        for n in range(12):
            await stranger.say(taken.format(f"bird{n}", "a good password"))
        answers = [shown(await stranger.next()) for _ in range(12)]
        assert "resource-constraint" in answers[-1]


COMMANDS = "http://jabber.org/protocol/commands"
ADMIN = "http://jabber.org/protocol/admin"


async def run(who: Talker, name: str, **fields: str) -> str:
    """What a command says at its end."""
    node = f"{ADMIN}#{name}"
    filled = "".join(
        f"<field var='{var.replace('_', '-')}'><value>{value}</value></field>"
        for var, value in fields.items()
    )
    form = f"<x xmlns='jabber:x:data' type='submit'>{filled}</x>"
    return shown(
        await who.ask(
            "set", f"<command xmlns='{COMMANDS}' node='{node}'>{form}</command>", "localhost"
        )
    )


async def test_administrators_manage_accounts_and_nobody_else_does(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = XmppSettings(admins=("boss",))
    async with house(tmp_path_factory.mktemp("a") / "data", settings) as home:
        boss, alice = await home.talker("boss", "b"), await home.talker("alice", "a")
        query = f"<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'/>"
        assert len((await alice.ask("get", query, "localhost"))[0]) == 0
        assert len((await boss.ask("get", query, "localhost"))[0]) == 4
        assert "forbidden" in await run(alice, "get-online-users-num")
        asked = await boss.ask(
            "set", f"<command xmlns='{COMMANDS}' node='{ADMIN}#add-user'/>", "localhost"
        )
        assert asked[0].get("status") == "executing"
        assert "accountjid" in shown(asked)
        assert "2 accounts" in await run(boss, "get-online-users-num")
        wren = {"accountjid": "wren@localhost", "password": "a good password"}
        assert "not the same" in await run(boss, "add-user", **wren, password_verify="x")
        assert "Done." in await run(boss, "add-user", **wren, password_verify=wren["password"])
        assert "exists" in await run(boss, "add-user", **wren, password_verify=wren["password"])
        home.keys["wren"] = "a good password"
        bird = await home.talker("wren", "w")
        changed = {**wren, "password": "a better password"}
        assert "Done." in await run(boss, "change-user-password", **changed)
        assert (await bird.hear("error"))[0].tag.endswith("}not-authorized")
        home.keys["wren"] = "a better password"
        await home.unbound("wren")
        assert "Done." in await run(boss, "delete-user", accountjids="wren@localhost")
        with pytest.raises(LoginRefused):
            await home.unbound("wren")
        assert "no account" in await run(boss, "delete-user", accountjids="x@elsewhere.example")
        log = ActLog(home.node.folder, lambda: 0)
        await until(lambda: len(log.read(0, 9).acts) == 4, "written down")
        assert [(a.who, a.what, a.on, a.result, a.source) for a in log.read(0, 9).acts] == [
            ("boss", "delete user", "wren", "ok", "xmpp"),
            ("boss", "reset user", "wren", "ok", "xmpp"),
            ("boss", "create user", "wren", "exists", "xmpp"),
            ("boss", "create user", "wren", "ok", "xmpp"),
        ]
