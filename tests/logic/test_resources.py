"""XMPP clients as devices: worlds of chance in which clients bind, take, confirm, break and come
back beside a phone of our own, and the server loses its memory. Nothing is lost, each client sees
each message once and in order, and what all have confirmed is wiped.
"""

import random
from typing import Any

import pytest

from tests.world import Phone, World, hash_of
from whimbrel.domain import answers as a
from whimbrel.domain import im
from whimbrel.domain import messages as m
from whimbrel.domain.ids import account_number
from whimbrel.domain.rows import MESSAGE, OFFLINE, RESOURCE
from whimbrel.domain.user import NEVER

HERE = b"<presence/>"


class Client:
    """A session of an XMPP client: what the edge's session keeps, without stanzas."""

    def __init__(self, world: World, address: str, via: int, resource: str) -> None:
        self.world = world
        self.number = self.account = account_number(address)
        self.via = via
        self.resource = resource
        self.device = 0
        self.ordinal = 0
        self.taking = False
        self.wants = False
        self.over = ""
        self.last = self.confirmed = self.shown = 0
        self.items: list[a.Item] = []  # shown, in order
        self.heard: list[Any] = []
        self.out: list[Any] = []
        self.session = world.sessions.open(self)
        world.engine.post(self.number, im.Bind(self.session, via, resource))

    def deliver(self, answer: Any) -> None:
        self.out.append(answer)

    def flush(self) -> None:
        out, self.out = self.out, []
        for answer in out:
            self.heard.append(answer)
            if isinstance(answer, im.Bound):
                self.device, self.ordinal = answer.device, answer.ordinal
            elif isinstance(answer, im.Started) and not self.taking:
                self.taking = True
                self.last = self.confirmed = max(answer.confirmed, self.confirmed)
            elif isinstance(answer, a.Gone | a.Rejected):
                self.over = self.over or answer.code
            elif isinstance(answer, a.UnknownSession) and self.device:
                self.attach()
            elif isinstance(answer, a.Item) and self.taking:
                assert answer.prev <= self.last, "a gap"
                if answer.q > self.last:
                    self.last = answer.q
                    if answer.q > self.shown:  # it went away and came back: it has these
                        self.shown = answer.q
                        self.items.append(answer)

    def attach(self) -> None:
        post = self.world.engine.post
        post(
            self.number,
            m.Attach(self.device, self.session, self.ordinal, self.last, self.confirmed),
        )
        if self.wants:
            self.here(True)

    def here(self, on: bool, priority: int = 0) -> None:
        self.wants = on
        if not on or priority < 0:
            self.taking = False
        stanza = HERE if on else b""
        self.world.engine.post(
            self.number, im.Available(self.device, self.session, priority, stanza)
        )

    def confirm(self, q: int) -> None:
        if q > self.confirmed:
            self.confirmed = q
            self.last = max(self.last, q)
            self.world.engine.post(self.number, m.Confirm(self.device, self.session, q))

    def leave(self) -> None:
        self.world.sessions.close(self.session)
        self.world.engine.post(self.number, im.Unbind(self.device, self.session, b""))
        self.over = "left"

    def texts(self) -> list[str]:
        return [i.body.decode() for i in self.items if i.kind == MESSAGE and i.body]


def client(world: World, phone: Phone, resource: str = "r", here: bool = True) -> Client:
    made = Client(world, phone.address, phone.device, resource)
    world.run()
    if here:
        made.here(True)
        world.run()
    return made


def rows(world: World, address: str) -> int:
    return len(world.store.disk.tables.inbox.get(account_number(address), {}))


def test_a_key_that_only_xmpp_uses_becomes_the_offline_store() -> None:
    world = World()
    alice = world.phone("alice")
    bob = world.register("bob")
    one = client(world, bob)
    kinds = {each.number: each.kind for each in world.state("bob").devices.values()}
    assert kinds == {bob.device: OFFLINE, one.device: RESOURCE}
    for n in range(3):
        alice.say("bob", str(n))
    assert one.texts() == ["0", "1", "2"]
    one.confirm(one.last)
    world.run()
    assert rows(world, "bob") == 0
    assert world.state("bob").waiting == 0
    assert alice.marks("bob")[0] > 0


def test_what_was_not_confirmed_waits_for_the_next_client() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.register("bob")
    one = client(world, bob)
    for n in range(5):
        alice.say("bob", str(n))
    one.confirm(one.items[1].q)
    world.run()
    one.leave()
    world.run()
    alice.say("bob", "5")
    two = client(world, bob, "other")
    assert two.texts() == ["2", "3", "4", "5"]


def test_a_client_that_takes_nothing_holds_nothing_up() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.register("bob")
    robot = client(world, bob, "robot", here=False)
    robot.here(True, priority=-1)
    phone = client(world, bob, "phone")
    alice.say("bob", "x")
    phone.confirm(phone.last)
    world.run()
    assert robot.items == []
    assert rows(world, "bob") == 0
    assert world.state("bob").devices[robot.device].confirmed == NEVER


def test_a_phone_of_our_own_and_an_xmpp_client_each_get_everything() -> None:
    world = World()
    alice, phone = world.phone("alice"), world.phone("bob")
    phone.auto_confirm = False
    desk = client(world, phone, "desk")
    alice.say("bob", "x")
    assert desk.texts() == phone.texts() == ["x"]
    desk.confirm(desk.last)
    world.run()
    assert rows(world, "bob") == 1  # the phone has not confirmed it
    phone.confirm(phone.last)
    world.run()
    assert rows(world, "bob") == 0


def test_a_client_of_our_own_with_the_key_of_xmpp_parts_from_it() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.register("bob")
    client(world, bob).leave()
    world.run()
    alice.say("bob", "x")
    bob.connect()
    assert bob.texts() == ["x"]
    later = client(world, bob, "later")
    assert later.texts() == ["x"]


def test_a_resource_that_nobody_attaches_to_goes_in_time() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.register("bob")
    lost = client(world, bob, "lost")
    alice.say("bob", "x")
    world.boot()
    alice.connect()
    other = client(world, bob, "other")
    other.confirm(other.last)
    world.run()
    assert rows(world, "bob") == 1  # the lost one may still come back
    world.later(world.limits.reattach_s * 5)
    assert lost.device not in world.state("bob").devices
    assert rows(world, "bob") == 0
    assert world.state("bob").waiting == 0


def test_the_same_resource_replaces_and_too_many_are_refused() -> None:
    world = World()
    bob = world.register("bob")
    one = client(world, bob, "same")
    two = client(world, bob, "same")
    assert (one.over, two.over) == ("conflict", "")
    many = [client(world, bob, f"r{n}") for n in range(world.limits.resources_max)]
    assert [each.over for each in many][-1] == "busy"


def test_an_unlinked_key_ends_its_clients() -> None:
    world = World()
    phone = world.phone("bob")
    answer_key = hash_of("second")
    phone.tell(m.Link(phone.device, phone.session, answer_key, "XMPP", 1))
    world.run()
    linked = phone.of(a.LinkDone)[0].device
    desk = Client(world, "bob", linked, "desk")
    world.run()
    desk.here(True)
    world.run()
    phone.tell(m.Unlink(phone.device, phone.session, linked))
    world.run()
    assert desk.over == "replaced"
    assert list(world.state("bob").devices) == [phone.device]


class Chance:
    """One world of chance: bob on XMPP clients that come and go, maybe a phone beside them."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = World(inline=bool(seed & 1))
        self.alice = self.world.phone("alice")
        self.bob = self.world.register("bob")
        self.phone = self.bob if seed % 3 == 0 else None
        if self.phone is not None:
            self.phone.connect()
            self.phone.auto_confirm = False
            client(self.world, self.bob).leave()  # from here on messages wait for XMPP too
        self.clients: list[Client] = []
        self.gone: list[Client] = []
        self.sent: list[str] = []

    def step(self) -> None:
        chance, world = self.chance, self.world
        deed = chance.randrange(12)
        living = [each for each in self.clients if not each.over]
        if deed < 4:
            text = str(len(self.sent))
            self.alice.submit("bob", text)
            self.sent.append(text)
        elif deed == 4 and len(living) < 4:
            resource = chance.choice("abcd")
            self.clients.append(Client(world, "bob", self.bob.device, resource))
            world.run()
        elif deed == 5 and living:
            each = chance.choice(living)
            if each.device:
                each.here(chance.random() < 0.8, chance.choice((0, 0, 0, -1)))
        elif deed in (6, 7) and living:
            each = chance.choice(living)
            if each.items:
                each.confirm(chance.choice(each.items).q)
        elif deed == 8 and living and chance.random() < 0.5:
            each = chance.choice(living)
            if each.device:
                each.leave()
        elif deed == 9 and self.phone is not None:
            self.phone.confirm(self.phone.last)
        elif deed == 10 and chance.random() < 0.2:
            world.later(chance.choice((1, 200)))
        elif deed == 11 and chance.random() < 0.1:
            self.reboot()
        for _ in range(chance.randrange(6)):
            world.step()

    def reboot(self) -> None:
        """The server dies: its sessions are gone, what is on the disk stays."""
        self.world.run()
        self.world.boot()
        for each in self.clients:
            each.over = each.over or "dead"
        self.alice.connect()
        if self.phone is not None:
            self.phone.connect()

    def check(self) -> None:
        """At the end a last client takes and confirms all that is left."""
        world = self.world
        world.run()
        for each in self.clients:
            if not each.over:
                each.leave()
        world.run()
        last = client(world, self.bob, "last")
        while last.confirmed < last.last:
            last.confirm(last.last)
            world.run()
        if self.phone is not None:
            self.phone.confirm(self.phone.last)
        world.later(1_000)
        if self.phone is not None:
            assert self.phone.texts() == self.sent
        confirmed: set[str] = set()
        for each in [*self.clients, last]:
            texts = [int(text) for text in each.texts()]
            assert texts == sorted(texts)
            shown = [i for i in each.items if i.kind == MESSAGE and i.body]
            confirmed |= {i.body.decode() for i in shown if i.body and i.q <= each.confirmed}
        assert confirmed == set(self.sent), "a message that no client ever confirmed is gone"
        again = client(world, self.bob, "again")
        assert again.texts() == []
        assert rows(world, "bob") == 0
        assert world.state("bob").waiting == 0


def test_a_client_that_goes_unavailable_holds_nothing_up() -> None:
    """Nor what it had been shown: another one confirms it, and it is gone."""
    world = World()
    alice, bob = world.phone("alice"), world.register("bob")
    one, two = client(world, bob, "one"), client(world, bob, "two")
    alice.submit("bob", "x")
    world.run()
    one.here(False)
    world.run()
    two.confirm(two.last)
    world.run()
    assert rows(world, "bob") == 0


def play_chance(seed: int) -> None:
    world = Chance(seed)
    for _ in range(150):
        world.step()
    world.check()


@pytest.mark.parametrize("seed", range(300))
def test_worlds_of_chance(seed: int) -> None:
    play_chance(seed)


def test_the_first_client_of_another_app_gets_what_waits() -> None:
    """The phone has not confirmed it, so it is there for the first XMPP client, too."""
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    bob.auto_confirm = False
    alice.submit("bob", "one")
    world.run()
    assert client(world, bob).texts() == ["one"]
