"""The router: whose actor is where, what is passed on, and who hears that something has moved."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from whimbrel.cluster import packs
from whimbrel.cluster.memory import MemoryCluster
from whimbrel.cluster.router import ClusterRouter
from whimbrel.domain import answers as a
from whimbrel.domain import messages as m
from whimbrel.domain.effects import Push, Reply, Tell
from whimbrel.domain.ids import NODES_MAX, SHARDS

CONFIRM = m.Confirm(1, 2, 3)
SUBMIT = m.Submit(1, 2, 3, "bob", 4, 5, b"hello")


class Wire:
    """All nodes' bus: packs arrive when the test says so."""

    def __init__(self) -> None:
        self.routers: list[ClusterRouter] = []
        self.packs: list[tuple[int, int, bytes]] = []  # from, to, what
        self.carried = 0

    def deliver(self) -> None:
        while self.packs:
            _, to, pack = self.packs.pop(0)
            self.carried += 1
            self.routers[to].received(pack)
            for router in self.routers:
                router.flush()


class Line:
    """One node's end of it."""

    pack_bytes_max = 100_000

    def __init__(self, wire: Wire, number: int) -> None:
        self.wire, self.number, self.open = wire, number, True

    def send(self, node: int, pack: bytes) -> bool:
        if not self.open:
            return False
        everybody = [n for n in range(len(self.wire.routers)) if n != self.number]
        for to in everybody if node < 0 else [node]:
            self.wire.packs.append((self.number, to, pack))
        return True


class Inside:
    def __init__(self) -> None:
        self.posted: list[tuple[int, Any]] = []
        self.replies: list[tuple[int, Any]] = []
        self.tried_again: list[int] = []
        self.full = False
        self.answers: Sequence[Any] = ()

    def post(self, account: int, message: m.ToActor) -> bool:
        if self.full and message.request:
            return False
        self.posted.append((account, message))
        return True

    def busy(self, account: int, message: m.ToActor) -> Sequence[Any]:
        return self.answers

    def replied(self, number: int, answer: a.ToSession | None) -> None:
        self.replies.append((number, answer))

    def try_again(self, concerned: Callable[[int], bool], /) -> None:
        self.tried_again += [account for account in range(30) if concerned(account)]

    def later(self, delay_us: int, call: Callable[[], None], /) -> None:
        call()


class Sink:
    def __init__(self, account: int = 0) -> None:
        self.account = account
        self.heard: list[Any] = []
        self.flushes = 0

    def deliver(self, answer: a.ToSession) -> None:
        self.heard.append(answer)

    def flush(self) -> None:
        self.flushes += 1


class House:
    """Three nodes; account n lives on node n % 3 as long as n < SHARDS."""

    def __init__(self, nodes: int = 3) -> None:
        self.cluster = MemoryCluster(nodes)
        self.wire = Wire()
        self.insides = [Inside() for _ in range(nodes)]
        self.sinks: list[dict[int, Any]] = [{} for _ in range(nodes)]
        for number in range(nodes):
            router = ClusterRouter(
                self.cluster.maps[number],
                Line(self.wire, number),
                self.insides[number],
                self.sinks[number],
                7,
                lambda call: None,
            )
            router.start()
            self.wire.routers.append(router)
        self.routers = self.wire.routers

    def go(self) -> None:
        for router in self.routers:
            router.flush()
        self.wire.deliver()

    def line(self, number: int) -> Line:
        line = self.routers[number].bus
        assert isinstance(line, Line)
        return line


def test_an_actor_of_this_node_is_told_without_a_network() -> None:
    house = House()
    assert house.routers[0].tell(3, SUBMIT)
    assert house.insides[0].posted == [(3, SUBMIT)]
    house.go()
    assert house.wire.carried == 0


def test_when_shards_have_moved_who_waits_for_their_accounts_asks_again() -> None:
    house = House()
    house.routers[0].moved([4, 5])
    assert house.insides[0].tried_again == [4, 5]
    house.routers[0].bus_is_back()
    assert [n for n in house.insides[0].tried_again[2:] if n % 3 == 0] == []
    assert house.insides[0].tried_again[2:4] == [1, 2]


def test_what_is_for_another_node_crosses_once_in_one_pack_and_in_order() -> None:
    house = House()
    for n in range(100):
        assert house.routers[0].tell(1 + 3 * n, SUBMIT)
        house.routers[0].push(NODES_MAX * n + 1, a.Stored(n, n))
    house.go()
    assert [account for account, _ in house.insides[1].posted] == [1 + 3 * n for n in range(100)]
    assert house.wire.carried == 1


def test_a_push_finds_the_session_and_flushes_it_once() -> None:
    house = House()
    sink = house.sinks[2][NODES_MAX + 2] = Sink()
    for n in range(5):
        house.routers[0].push(NODES_MAX + 2, a.Stored(n, n))
    house.routers[0].push(2 * NODES_MAX + 2, a.Stored(9, 9))
    house.go()
    assert sink.heard == [a.Stored(n, n) for n in range(5)]
    assert sink.flushes == 1
    assert house.routers[2].counts["no_session"] == 1


def test_a_reply_goes_to_the_node_that_asked_also_if_there_is_nothing_to_say() -> None:
    house = House()
    house.routers[0].reply(NODES_MAX + 1, a.Proven("alice", 1))
    house.routers[0].reply(2 * NODES_MAX + 1, None)
    house.go()
    assert house.insides[1].replies == [
        (NODES_MAX + 1, a.Proven("alice", 1)),
        (2 * NODES_MAX + 1, None),
    ]


def test_a_node_that_does_not_own_it_any_more_passes_it_on_and_says_whose_it_is() -> None:
    house = House()
    house.cluster.move(1, to=2, told=False)
    house.cluster.maps[1].correct(1, 2, 2)  # node 1 knows; node 0 does not
    house.wire.packs.clear()  # nor did it hear the new owner
    for router in house.routers:
        router._packers.clear()
    assert house.routers[0].tell(1, SUBMIT)
    house.go()
    assert house.insides[2].posted == [(1, SUBMIT)]
    assert house.cluster.maps[0].owner(1) == 2
    carried = house.wire.carried
    assert house.routers[0].tell(1, SUBMIT)
    house.go()
    assert house.wire.carried == carried + 1, "straight from now on"


def test_nothing_is_passed_on_twice() -> None:
    """Two nodes that take each other for the owner: the sender has to say it again."""
    house = House()
    maps = house.cluster.maps
    maps[1].lose([1])
    maps[1].correct(1, 2, 5)
    maps[2].correct(1, 1, 5)
    house.routers[0].tell(1, SUBMIT)
    house.go()
    assert sum(router.counts["passed_on"] for router in house.routers) == 1
    assert all(not inside.posted for inside in house.insides)


def test_a_session_hears_that_what_it_said_found_nobody() -> None:
    house = House()
    sink = house.sinks[0][SUBMIT.session * NODES_MAX] = Sink()
    house.cluster.maps[1].lose([1])
    submit = m.Submit(1, SUBMIT.session * NODES_MAX, 3, "bob", 4, 5, b"hello")
    house.routers[0].tell(1, submit)
    house.routers[0].tell(1, m.Ack(1, 2, ""))
    house.go()
    assert sink.heard == [a.UnknownSession()]


def test_a_session_that_said_much_to_nobody_hears_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each open submit brings an attach with all open submits, without end."""
    house = House()
    sink = house.sinks[0][SUBMIT.session * NODES_MAX] = Sink()
    house.cluster.maps[1].lose([1])
    later: list[Callable[[], None]] = []
    for inside in house.insides:
        monkeypatch.setattr(inside, "later", lambda delay_us, call: later.append(call))
    for c in range(5):
        house.routers[0].tell(1, m.Submit(1, SUBMIT.session * NODES_MAX, 3, "bob", c, 5, b"hello"))
    house.go()
    assert sink.heard == []
    for call in later:
        call()
    house.go()
    assert sink.heard == [a.UnknownSession()]


def test_an_owner_that_nobody_knows_is_waited_for() -> None:
    house = House()
    house.cluster.maps[0].lose([0])
    assert not house.routers[0].tell(0, SUBMIT)
    assert not house.routers[0].tell(0, CONFIRM)


def test_a_bus_that_is_away_refuses_requests_and_drops_what_will_be_said_again() -> None:
    house = House()
    house.line(0).open = False
    assert not house.routers[0].tell(1, SUBMIT)
    assert house.routers[0].tell(1, CONFIRM)
    house.go()
    assert house.routers[0].counts["packs_dropped"] == 1
    assert house.routers[0].tell(0, SUBMIT), "what is here needs no bus"


def test_a_full_mailbox_elsewhere_answers_busy() -> None:
    house = House()
    house.insides[1].full = True
    session = NODES_MAX
    house.sinks[0][session] = Sink()
    house.insides[1].answers = [
        Tell(2, m.BusyAck(1, 9)),
        Push(session, a.CommandRefused("block", "busy")),
        Reply(NODES_MAX, a.Rejected("busy")),
    ]
    house.routers[0].tell(1, SUBMIT)
    house.go()
    assert house.insides[2].posted == [(2, m.BusyAck(1, 9))]
    assert house.sinks[0][session].heard == [a.CommandRefused("block", "busy")]
    assert house.insides[0].replies == [(NODES_MAX, a.Rejected("busy"))]


def test_sessions_of_a_shard_that_moved_attach_again_on_every_node() -> None:
    house = House()
    moved, other = SHARDS + 1, SHARDS + 4
    for number in range(3):
        house.sinks[number] |= {n: Sink(n) for n in (0, moved, other)}
    house.cluster.move(1, to=2, told=False)
    house.go()
    for number in range(3):
        assert set(house.sinks[number][moved].heard) == {a.UnknownSession()}, number
        assert house.sinks[number][other].heard == []
        assert house.sinks[number][0].heard == [], "nobody has logged in there"


def test_after_the_bus_was_away_sessions_of_actors_elsewhere_attach_again() -> None:
    house = House()
    here, there = Sink(3), Sink(4)
    house.sinks[0] |= {1: here, 2: there}
    house.routers[0].bus_is_back()
    assert here.heard == []
    assert there.heard == [a.UnknownSession()] * 2, "now, and when what was pushed is lost"


def test_a_node_whose_actors_lost_their_memory_tells_their_sessions_elsewhere() -> None:
    house = House()
    of_two, of_one = Sink(5), Sink(4)
    house.sinks[0] |= {1: of_two, 2: of_one}
    house.routers[2].forgot()
    house.go()
    assert of_two.heard == [a.UnknownSession()]
    assert of_one.heard == []
    assert house.insides[0].tried_again == list(range(2, 30, 3)), "and who wrote to those"


def test_a_process_that_was_replaced_is_not_listened_to() -> None:
    house = House()
    for incarnation in (5, 9, 5):
        packer = packs.Packer(2, incarnation, 7)
        packer.add(packs.entry_of(packs.TELL, 0, SUBMIT), 1_000)
        house.routers[0].received(packer.take())
    assert len(house.insides[0].posted) == 2
    assert house.routers[0].counts["old_incarnation"] == 1


def test_another_era_is_another_world() -> None:
    house = House()
    packer = packs.Packer(2, 1, 6)
    packer.add(packs.entry_of(packs.TELL, 0, SUBMIT), 1_000)
    house.routers[0].received(packer.take())
    assert house.insides[0].posted == []
    assert house.routers[0].counts["other_era"] == 1


def test_what_is_not_understood_is_counted_and_does_no_harm() -> None:
    house = House()
    house.routers[0].received(b"\xc1 what is this?")
    packer = packs.Packer(2, 1, 7)
    for entry in (
        packs.entry_of(77, 0, SUBMIT),
        packs.entry_of(packs.TELL, 0, a.Stored(1, 2)),  # no message to an actor
        packs.entry_of(packs.OWNERS, 0, SUBMIT),
        packs.entry_of(packs.OWNERS, 0, packs.Owners(1, ((SHARDS, 9), (-1, 9)))),
        packs.entry_of(packs.TELL, 0, SUBMIT),
    ):
        packer.add(entry, 10_000)
    house.routers[0].received(packer.take())
    assert house.insides[0].posted == [(0, SUBMIT)]
    counts = house.routers[0].counts
    assert (counts["not_a_pack"], counts["unknown_entries"], counts["unknown_messages"]) == (
        1,
        1,
        2,
    )
    assert house.routers[0].snapshot()["router_unknown_messages"] == 2
