"""The plan of a run: who is there, what they do and what breaks when. All of it from a seed.

Swarm testing: each seed switches some kinds of trouble off and others up, so that rare
combinations are not drowned by the usual ones. Every step is one entry of a list, so that a
failing plan can be made shorter (shrink.py). `SUSPICIONS` are plans steered towards one thing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

import msgspec

from sim.time import MS, SECOND
from whimbrel.domain.limits import Limits


@dataclass(frozen=True)
class Step:
    at_us: int
    kind: str
    who: int = 0
    other: int = 0
    amount: int = 0

    def __str__(self) -> str:
        return f"{self.at_us / SECOND:8.3f} {self.kind} {self.who} {self.other} {self.amount}"


@dataclass(frozen=True)
class Plan:
    seed: int
    nodes: int
    people: int
    shards: int
    limits: Limits
    steps: tuple[Step, ...]
    end_us: int
    name: str = "swarm"
    late_writes: bool = True
    tablets: tuple[int, ...] = field(default=())  # people with a second device
    clients: tuple[tuple[int, bool], ...] = ()  # whose XMPP client; does it speak XEP-0198?
    no_phone: tuple[int, ...] = ()  # people with XMPP clients only

    def without(self, steps: set[int]) -> "Plan":
        left = tuple(step for n, step in enumerate(self.steps) if n not in steps)
        return replace(self, steps=left)


# kind -> how many an average minute has, when it is switched on
TROUBLE = {
    "cut": 10.0,
    "vanish": 6.0,
    "vanish-silently": 3.0,
    "twice": 4.0,
    "lazy": 4.0,
    "lag": 4.0,
    "read": 10.0,
    "typing": 3.0,
    "reregister": 1.0,
    "link": 1.5,
    "block": 1.0,
    "crash": 4.0,
    "crash-in-commit": 3.0,
    "disk-full": 2.0,
    "disk-hangs": 3.0,
    "unknown": 2.0,
    "freeze": 2.0,
    "clock": 2.0,
    "poison": 2.0,
    "database-away": 1.5,
    "loss": 2.0,
    "partition": 2.0,
    "sleep": 3.0,
    "lose-phone": 0.5,
    "strange": 2.0,
    "backup": 2.0,
    "restore": 0.5,
}
SEVERAL_NODES = {"partition", "database-away", "loss"}
END_S = 60


def plan_of(seed: int, nodes: int = 0) -> Plan:
    chance = Random(seed)
    nodes = nodes or chance.choice((1, 1, 2, 3))
    people = chance.randrange(2, 6)
    on = [kind for kind in TROUBLE if chance.random() < 0.5]
    if nodes == 1:
        on = [kind for kind in on if kind not in SEVERAL_NODES]
    end_us = chance.randrange(20, END_S) * SECOND
    steps = _talk(chance, people, end_us, chance.choice((1.0, 3.0, 10.0)))
    for kind in on:
        rate = TROUBLE[kind] * chance.choice((0.5, 1.0, 3.0))
        for at_us in _times(chance, rate, end_us):
            steps.append(_step(chance, kind, at_us, people, nodes))
    steps.sort(key=lambda step: step.at_us)
    return Plan(
        seed,
        nodes,
        people,
        chance.choice((4, 8, 16)),
        _limits(chance),
        tuple(steps),
        end_us,
        tablets=tuple(n for n in range(people) if chance.random() < 0.3),
    )


def _limits(chance: Random) -> Limits:
    """Small bounds are met often."""
    return Limits(
        window_items_max=chance.choice((1, 3, 8, 256)),
        submits_open_max=chance.choice((2, 8, 64)),
        mailbox_max=chance.choice((5, 50, 1_000)),
        turn_messages_max=chance.choice((1, 5, 1_000)),
        open_per_peer_max=chance.choice((1, 4, 32)),
        actor_idle_s=chance.choice((1.0, 5.0, 120.0)),
        retry_max_s=20.0,
        resend_max_s=10.0,
        reattach_s=20.0,
        rewind_s=20.0,
        idle_ping_s=20.0,
        idle_timeout_s=50.0,
        hello_timeout_s=20.0,
        new_contacts_per_hour=1_000_000,
        restart_pause_s=2.0,
        frames_per_s=1_000_000,
        bytes_per_s=1_000_000_000,
    )


def _times(chance: Random, per_minute: float, end_us: int) -> list[int]:
    times: list[int] = []
    at_s = 0.0
    while True:
        at_s += chance.expovariate(per_minute / 60)
        if at_s * SECOND >= end_us:
            return times
        times.append(int(at_s * SECOND))


def _talk(chance: Random, people: int, end_us: int, per_s: float) -> list[Step]:
    """Messages, alone and in bursts."""
    steps = []
    for at_us in _times(chance, per_s * 60, end_us):
        who = chance.randrange(people)
        other = (who + chance.randrange(1, people)) % people if people > 1 else who
        burst = chance.choice((1, 1, 1, 2, 10))
        steps.append(Step(at_us, "write", who, other, burst))
    return steps


def _step(chance: Random, kind: str, at_us: int, people: int, nodes: int) -> Step:
    by_node = kind in {
        "crash", "crash-in-commit", "disk-full", "disk-hangs", "unknown", "freeze", "clock",
        "database-away", "partition",
    }  # fmt: skip
    many = nodes if by_node else people
    who = chance.randrange(many)
    other = (who + chance.randrange(1, many)) % many if many > 1 else who
    return Step(at_us, kind, who, other, chance.randrange(1, 10_000) * MS)


# ---- plans that are steered towards one suspicion ---------------------------------------


def _steered(seed: int, nodes: int, kinds: dict[str, float], talk: float = 5.0) -> Plan:
    chance = Random(seed)
    people, end_us = 3, 40 * SECOND
    steps = _talk(chance, people, end_us, talk)
    for kind, rate in kinds.items():
        for at_us in _times(chance, rate, end_us):
            steps.append(_step(chance, kind, at_us, people, nodes))
    steps.sort(key=lambda step: step.at_us)
    limits = _limits(chance)
    return Plan(seed, nodes, people, 4, limits, tuple(steps), end_us)


def takeovers(seed: int) -> Plan:
    """Owners freeze, are cut off and crash while others take over."""
    kinds = {"freeze": 8.0, "database-away": 6.0, "crash": 6.0, "cut": 6.0, "twice": 10.0}
    return replace(_steered(seed, 3, kinds), name="takeovers")


def unknowns(seed: int) -> Plan:
    """Commits of which nobody hears how they ended."""
    kinds = {"unknown": 30.0, "twice": 20.0, "cut": 10.0, "crash": 3.0}
    return replace(_steered(seed, 1 + seed % 2, kinds), name="unknowns")


def reconnects(seed: int) -> Plan:
    """Phones come and go, confirm late, and are replaced."""
    kinds = {"cut": 40.0, "vanish": 20.0, "lazy": 20.0, "lag": 20.0, "link": 5.0, "sleep": 10.0}
    return replace(_steered(seed, 1, kinds), name="reconnects")


def crashes(seed: int) -> Plan:
    kinds = {"crash": 20.0, "crash-in-commit": 20.0, "disk-full": 6.0, "poison": 6.0}
    return replace(_steered(seed, 1 + seed % 3, kinds), name="crashes")


def lossy(seed: int) -> Plan:
    """Words between nodes get lost, double, late; sessions and actors live apart."""
    kinds = {
        "loss": 20.0, "partition": 8.0, "cut": 10.0, "crash": 2.0, "read": 10.0, "sleep": 10.0,
        "lose-phone": 2.0, "block": 6.0,
    }  # fmt: skip
    return replace(_steered(seed, 2 + seed % 2, kinds), name="lossy")


def clocks(seed: int) -> Plan:
    """Accounts move between nodes whose wall clocks differ by seconds."""
    kinds = {"clock": 30.0, "freeze": 6.0, "crash": 12.0, "twice": 10.0, "strange": 10.0}
    return replace(_steered(seed, 1 + seed % 3, kinds), name="clocks")


def restores(seed: int) -> Plan:
    """A backup is taken while everything runs, and comes back."""
    kinds = {
        "backup": 10.0, "restore": 3.0, "cut": 6.0, "vanish": 12.0, "crash": 3.0, "twice": 6.0,
    }  # fmt: skip
    return replace(_steered(seed, 1, kinds), name="restores")


def full(seed: int) -> Plan:
    """Inboxes that hold little, phones that are away for long, messages that expire."""
    kinds = {"vanish": 30.0, "lazy": 20.0, "crash": 3.0, "lose-phone": 1.0}
    plan = _steered(seed, 1 + seed % 2, kinds, talk=8.0)
    limits = msgspec.structs.replace(
        plan.limits,
        inbox_messages_max=20,
        trim_slice=5,
        inbox_expiry_s=20 if seed % 2 else 2_592_000,
        mailbox_max=50,
    )
    return replace(plan, name="full", limits=limits)


def newcomers(seed: int) -> Plan:
    """Second devices and new keys for old accounts, beside slow readers."""
    kinds = {"link": 12.0, "reregister": 6.0, "lazy": 20.0, "vanish": 10.0, "read": 20.0}
    return replace(_steered(seed, 1 + seed % 2, kinds), name="newcomers")


def expiring(seed: int) -> Plan:
    """Phones that never return, while their friends go on writing to them."""
    plan = _steered(seed, 1 + seed % 2, {"cut": 6.0, "crash": 2.0}, talk=4.0)
    gone = Step(plan.steps[0].at_us, "lose-phone", 0, 0, 1)
    limits = msgspec.structs.replace(plan.limits, inbox_expiry_s=20)
    return replace(plan, name="expiring", limits=limits, steps=(gone, *plan.steps))


def widows(seed: int) -> Plan:
    """A phone is gone for good, then the node where its session lived; its inbox is small."""
    plan = _steered(seed, 2, {"cut": 3.0}, talk=8.0)
    at_us = 2 * SECOND
    steps = [
        Step(at_us, "lose-phone", 0, 0, 1),
        Step(at_us + 100 * MS, "crash", seed % 2, 0, 2_000 * MS),
    ]
    limits = msgspec.structs.replace(plan.limits, inbox_messages_max=20, trim_slice=5)
    later = tuple(sorted((*plan.steps, *steps), key=lambda step: step.at_us))
    return replace(plan, name="widows", limits=limits, steps=later)


def apart(seed: int) -> Plan:
    """Two nodes do not hear each other for a long time; their databases do."""
    plan = _steered(seed, 2, {"cut": 3.0}, talk=2.0)
    steps = (Step(SECOND, "partition", 0, 1, 16_000 * MS), *plan.steps)
    limits = msgspec.structs.replace(plan.limits, open_per_peer_max=1 + seed % 4)
    return replace(plan, name="apart", limits=limits, steps=steps)


def blocks(seed: int) -> Plan:
    """People block and unblock while words between nodes come late and twice."""
    kinds = {"block": 60.0, "loss": 60.0, "cut": 6.0, "sleep": 6.0}
    return replace(_steered(seed, 2 + seed % 2, kinds), name="blocks")


def hangs(seed: int) -> Plan:
    """Commits that take seconds, while the node loses its shards and gets them back."""
    kinds = {"disk-hangs": 30.0, "freeze": 20.0, "sleep": 20.0, "cut": 6.0, "reregister": 3.0}
    return replace(_steered(seed, 1 + seed % 2, kinds), name="hangs")


def hellos(seed: int) -> Plan:
    """Hellos and their answers come late and twice, while phones come and go."""
    kinds = {"loss": 60.0, "cut": 12.0}
    return replace(_steered(seed, 2, kinds, talk=10.0), name="hellos")


def partings(seed: int) -> Plan:
    """The last words before a silence: nothing that comes later carries them along."""
    chance = Random(seed)
    steps = []
    for other in (1, 2):
        at_us = chance.randrange(100, 5_000) * MS
        steps.append(Step(at_us - 50 * MS, "lag", other, 0, 600 * MS))
        steps.append(Step(at_us, "write", 0, other, chance.choice((1, 3))))
        gone_us = at_us + chance.randrange(50, 400) * MS
        steps.append(Step(gone_us, "vanish", other, 0, 2_000 * MS))
    steps.sort(key=lambda step: step.at_us)
    limits = _limits(chance)
    return Plan(seed, 1, 3, 4, limits, tuple(steps), 8 * SECOND, name="partings")


def movers(seed: int) -> Plan:
    """Actors sleep while their shards go to another node and come back."""
    kinds = {"sleep": 40.0, "freeze": 15.0, "crash": 2.0}
    return replace(_steered(seed, 2, kinds, talk=2.0), name="movers")


def wakers(seed: int) -> Plan:
    """Owners are stopped in the middle of a commit and wake when the other takes over."""
    plan = _steered(seed, 2, {"cut": 4.0, "twice": 4.0, "read": 10.0}, talk=20.0)
    chance = Random(seed)
    steps = list(plan.steps)
    for at_us in _times(chance, 5.0, plan.end_us):
        over_us = chance.randrange(1, 1_900) * MS
        steps.append(Step(at_us, "oversleep", chance.randrange(2), 0, over_us))
    steps.sort(key=lambda step: step.at_us)
    return replace(plan, steps=tuple(steps), name="wakers")


def orphans(seed: int) -> Plan:
    """Somebody writes, the words to the other node get lost, the phone is gone for good, and
    then the machine: nobody but the server itself can remember the message.
    """
    plan = _steered(seed, 2, {"cut": 6.0}, talk=2.0)
    chance = Random(seed)
    at_us = chance.randrange(2_000, 20_000) * MS
    others = tuple(step for step in plan.steps if step.who and step.other)
    last = [
        Step(at_us, "partition", 0, 1, 8_000 * MS),
        *(Step(at_us + 100 * MS, "write", 0, other, 3) for other in (1, 2)),
        Step(at_us + 1_500 * MS, "lose-phone", 0, 0, 1),
        Step(at_us + 2_000 * MS, "crash", 0, 0, 3_000 * MS),
        Step(at_us + 2_000 * MS, "crash", 1, 0, 3_000 * MS),
    ]
    steps = tuple(sorted((*others, *last), key=lambda step: step.at_us))
    return replace(plan, steps=steps, name="orphans")


# ---- plans with XMPP clients ------------------------------------------------------------


def _with_clients(plan: Plan, name: str, per_person: int, nodes_stay: bool = True) -> Plan:
    """XMPP clients beside phones, and people who have no phone. Sessions wait for seconds."""
    chance = Random(plan.seed ^ 0xC11E)
    clients = [
        (person, chance.random() < 0.8)
        for person in range(plan.people)
        for _ in range(chance.randrange(person != 1, per_person + 1))
    ]
    having = {person for person, _ in clients}
    no_phone = tuple(person for person in sorted(having) if chance.random() < 0.6)
    limits = msgspec.structs.replace(plan.limits, resume_s=chance.choice((3, 15, 60)))
    return replace(plan, name=name, limits=limits, clients=tuple(clients), no_phone=no_phone)


def jabber(seed: int) -> Plan:
    """XMPP clients and phones in one world, with every kind of trouble that both can meet."""
    chance = Random(seed ^ 0x7A66)
    kinds = {
        kind: rate * chance.choice((0.5, 1.0, 3.0))
        for kind, rate in {**TROUBLE, **TROUBLE_OF_CLIENTS}.items()
        if kind not in NOT_WITH_CLIENTS and chance.random() < 0.5
    }
    nodes = chance.choice((1, 1, 2, 3))
    if nodes == 1:
        kinds = {kind: rate for kind, rate in kinds.items() if kind not in SEVERAL_NODES}
    return _with_clients(_steered(seed, nodes, kinds, chance.choice((1.0, 3.0, 8.0))), "jabber", 2)


def dead_phones(seed: int) -> Plan:
    """Clients fall silent and come back, before and after the server noticed, or too late."""
    kinds = {
        "vanish-silently": 25.0, "vanish": 10.0, "cut": 25.0, "lazy": 10.0, "lag": 10.0,
    }  # fmt: skip
    return _with_clients(_steered(seed, 1, kinds, talk=8.0), "dead-phones", 1)


def resources(seed: int) -> Plan:
    """Several clients of one account, that come, go away and leave."""
    kinds = {"away": 60.0, "leave": 60.0, "cut": 12.0, "lazy": 12.0, "steal": 6.0, "sleep": 6.0}
    return _with_clients(_steered(seed, 1, kinds, talk=6.0), "resources", 3)


def stalls(seed: int) -> Plan:
    """Clients that read nothing for a while, and resume with what was left."""
    kinds = {"stall": 40.0, "lag": 10.0, "cut": 6.0}
    return _with_clients(_steered(seed, 1, kinds, talk=15.0), "stalls", 2)


def clients_in_trouble(seed: int) -> Plan:
    """The server crashes, its disk is full, hangs, or nobody hears how a commit ended."""
    kinds = {
        "crash": 6.0, "crash-in-commit": 6.0, "disk-full": 6.0, "disk-hangs": 15.0, "unknown": 6.0,
        "poison": 4.0, "cut": 60.0, "twice": 20.0,
    }  # fmt: skip
    return _with_clients(_steered(seed, 1, kinds), "clients-in-trouble", 1)


def clients_that_move(seed: int) -> Plan:
    """Accounts move between nodes under their clients; words between nodes get lost."""
    kinds = {"freeze": 6.0, "loss": 12.0, "crash": 3.0, "cut": 12.0, "away": 20.0, "sleep": 6.0}
    return _with_clients(_steered(seed, 2 + seed % 2, kinds), "clients-that-move", 2)


def presences(seed: int) -> Plan:
    """Clients go away and return while the words that say so get lost, or the actor forgets."""
    kinds = {"away": 90.0, "loss": 40.0, "poison": 20.0, "freeze": 4.0}
    return _with_clients(_steered(seed, 2, kinds, talk=1.0), "presences", 2)


TROUBLE_OF_CLIENTS = {"away": 6.0, "leave": 4.0, "stall": 4.0, "steal": 2.0}
# an older disk, or another key, is a promise that XMPP does not make
NOT_WITH_CLIENTS = {"restore", "backup", "reregister", "lose-phone", "block", "link"}

OF_CLIENTS: dict[str, Callable[[int], Plan]] = {
    "jabber": jabber,
    "dead-phones": dead_phones,
    "resources": resources,
    "stalls": stalls,
    "clients-in-trouble": clients_in_trouble,
    "clients-that-move": clients_that_move,
    "presences": presences,
}

SUSPICIONS: dict[str, Callable[[int], Plan]] = {
    "swarm": plan_of,
    "takeovers": takeovers,
    "wakers": wakers,
    "unknowns": unknowns,
    "reconnects": reconnects,
    "crashes": crashes,
    "newcomers": newcomers,
    "lossy": lossy,
    "clocks": clocks,
    "restores": restores,
    "full": full,
    "expiring": expiring,
    "widows": widows,
    "apart": apart,
    "blocks": blocks,
    "hangs": hangs,
    "orphans": orphans,
    "hellos": hellos,
    "movers": movers,
    "partings": partings,
    **OF_CLIENTS,
}
