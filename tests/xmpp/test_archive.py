"""The archive (XEP-0313): kept when the operator says so, in pages, by peer, by time, by id."""

from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree.ElementTree import Element

import pytest
import pytest_asyncio

from tests.xmpp.house import House, house
from tests.xmpp.talk import CLIENT, Talker
from whimbrel.domain.limits import Limits

MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"


@pytest_asyncio.fixture
async def kept(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path / "data", limits=Limits(archive_s=86_400)) as opened:
        yield opened


def form(**fields: str) -> str:
    shown = "".join(
        f"<field var='{name.replace('_', '-')}'><value>{value}</value></field>"
        for name, value in fields.items()
    )
    return (
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
        f"<value>{MAM}</value></field>{shown}</x>"
    )


def page(inside: str) -> str:
    return f"<set xmlns='{RSM}'>{inside}</set>"


async def ask(who: Talker, inside: str = "", wrapped: str = "") -> tuple[list[Element], Element]:
    answer = await who.ask("set", f"<query xmlns='{MAM}' queryid='q1'>{inside}{wrapped}</query>")
    results = [e for e in who.heard if e.find(f"{{{MAM}}}result") is not None]
    who.heard = [e for e in who.heard if e not in results]
    return [each[0] for each in results], answer


def bodies(results: list[Element]) -> list[str]:
    return [result.findtext(f".//{{{CLIENT}}}body") or "" for result in results]


async def three_days(home: House) -> tuple[Talker, Talker, Talker]:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    carl = await home.talker("carl", "c")
    for n in range(6):
        await alice.say(
            f"<message to='bob@localhost' type='chat' id='a{n}'><body>a{n}</body></message>"
        )
        await bob.message()
        await bob.say(
            f"<message to='alice@localhost' type='chat' id='b{n}'><body>b{n}</body></message>"
        )
        await alice.message()
    await carl.say("<message to='alice@localhost' type='chat'><body>c</body></message>")
    await alice.message()
    return alice, bob, carl


async def test_everything_of_both_directions_in_order(kept: House) -> None:
    alice, bob, _ = await three_days(kept)
    results, answer = await ask(alice)
    assert bodies(results) == [f"{who}{n}" for n in range(6) for who in "ab"] + ["c"]
    fin = answer[0]
    assert fin.get("complete") == "true"
    assert fin.findtext(f".//{{{RSM}}}count") == "13"
    ids = [result.get("id") for result in results]
    assert [fin.findtext(f".//{{{RSM}}}{name}") for name in ("first", "last")] == [ids[0], ids[-1]]
    first = results[0].find(f".//{{{CLIENT}}}message")
    assert first is not None
    assert (first.get("from"), first.get("to"), first.get("id")) == (
        "alice@localhost/a",
        "bob@localhost",
        "a0",
    )
    results, _ = await ask(bob)
    assert bodies(results) == [f"{who}{n}" for n in range(6) for who in "ab"]


async def test_by_peer_and_page_by_page_forwards_and_backwards(kept: House) -> None:
    alice, _, _ = await three_days(kept)
    wanted = [f"{who}{n}" for n in range(6) for who in "ab"]
    found: list[str] = []
    after = ""
    while True:
        inside = form(with_="bob@localhost").replace("with-", "with")
        results, answer = await ask(alice, inside, page(f"<max>5</max>{after}"))
        found += bodies(results)
        if answer[0].get("complete") == "true":
            break
        after = f"<after>{results[-1].get('id')}</after>"
    assert found == wanted
    found, before = [], "<before/>"
    while True:
        inside = form(with_="bob@localhost").replace("with-", "with")
        results, answer = await ask(alice, inside, page(f"<max>5</max>{before}"))
        found = bodies(results) + found
        if answer[0].get("complete") == "true":
            break
        before = f"<before>{results[0].get('id')}</before>"
    assert found == wanted


async def test_by_time_and_by_id(kept: House) -> None:
    alice, _, _ = await three_days(kept)
    results, _ = await ask(alice)
    third, fifth = results[2], results[4]
    stamp = fifth.find(".//{urn:xmpp:delay}delay")
    assert stamp is not None
    found, _ = await ask(alice, form(after_id=third.get("id", ""), before_id=fifth.get("id", "")))
    assert bodies(found) == bodies(results[3:4])
    found, _ = await ask(alice, form(ids=third.get("id", "")))
    assert bodies(found) == bodies([third])
    found, _ = await ask(alice, form(start="2000-01-01T00:00:00Z", end="2001-01-01T00:00:00Z"))
    assert found == []
    answer = await alice.ask("set", f"<query xmlns='{MAM}'>{form(start='yesterday')}</query>")
    assert answer.get("type") == "error"


async def test_the_live_message_carries_the_archives_id_and_no_forged_one(kept: House) -> None:
    alice, bob = await kept.talker("alice", "a"), await kept.talker("bob", "b")
    await alice.say(
        "<message to='bob@localhost' type='chat'><body>x</body>"
        "<stanza-id xmlns='urn:xmpp:sid:0' by='bob@localhost' id='forged'/></message>"
    )
    message = await bob.hear("message")
    ids = message.findall("{urn:xmpp:sid:0}stanza-id")
    results, _ = await ask(bob)
    assert [(each.get("by"), each.get("id")) for each in ids] == [
        ("bob@localhost", results[0].get("id"))
    ]


async def test_by_default_nothing_is_kept_nor_offered(home: House) -> None:
    alice = await home.talker("alice", "a")
    answer = await alice.ask("set", f"<query xmlns='{MAM}'/>")
    assert answer.get("type") == "error"
    info = await alice.ask(
        "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "alice@localhost"
    )
    assert MAM not in {feature.get("var") for feature in info[0]}


@pytest.mark.parametrize("path", ["files", "account"])
async def test_what_is_too_old_is_wiped(kept: House, path: str) -> None:
    alice, _, _ = await three_days(kept)
    if path == "files":
        kept.node.housekeeping._clock = _Later(kept.node.clock)  # type: ignore[assignment]
        kept.node.housekeeping.scan_expiry()
        await kept.until(lambda: kept.node.engine.quiet, "quiet")
        results, _ = await ask(alice)
        while results:
            results, _ = await ask(alice)
    else:
        await alice.ask("set", "<query xmlns='jabber:iq:register'><remove/></query>")
        await kept.account("alice")
        alice = await kept.talker("alice", "a")
    results, _ = await ask(alice)
    assert results == []


class _Later:
    """A clock two days ahead."""

    def __init__(self, clock: object) -> None:
        self._clock = clock

    def now_us(self) -> int:
        return self._clock.now_us() + 2 * 86_400_000_000  # type: ignore[attr-defined,no-any-return]
