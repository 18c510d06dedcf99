"""What administrators ask of a user's actor: a look at it, and the end of a session."""

from tests.world import World
from whimbrel.domain import answers as a
from whimbrel.domain import messages as m
from whimbrel.domain.ids import account_number
from whimbrel.domain.limits import Limits


def describe(world: World, address: str) -> a.Description:
    answer = world.ask(account_number(address), m.Describe)
    assert isinstance(answer, a.Description)
    return answer


def disconnect(world: World, address: str, device: int) -> str:
    answer = world.ask(account_number(address), lambda reply: m.Disconnect(device, reply))
    assert isinstance(answer, a.Removed)
    return answer.code


def test_a_session_is_ended_and_its_device_may_come_back() -> None:
    world = World()
    alice = world.phone("alice")
    assert disconnect(world, "alice", alice.device) == ""
    assert alice.of(a.Gone) == [a.Gone("shutting-down")]
    alice.disconnect()
    assert disconnect(world, "alice", alice.device) == "not-found"
    assert isinstance(alice.connect(), a.Welcome)


def test_there_is_nothing_to_end_of_a_stranger() -> None:
    assert disconnect(World(), "nobody", 1) == "not-found"


def test_the_sessions_of_devices_are_described() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    alice.say("bob", "hello")
    (device,) = describe(world, "bob").devices
    assert (device.session, device.pushed, device.online) == (bob.session, bob.last, True)
    bob.disconnect()
    (device,) = describe(world, "bob").devices
    assert (device.session, device.pushed, device.online) == (0, 0, False)


def test_open_messages_are_described_with_their_tries() -> None:
    """Bob's inbox is full of what his live session holds: the rest stays open, and is retried."""
    world = World(Limits(inbox_messages_max=20, trim_slice=5))
    alice, bob = world.phone("alice"), world.phone("bob")
    bob.auto_confirm = False
    for n in range(22):
        alice.say("bob", f"number {n}")
    first, second = describe(world, "alice").sends
    ids = [stored.id for stored in alice.of(a.Stored)]
    assert [first.id, second.id] == ids[20:]
    assert (first.peer, first.device, first.attempts) == ("bob", alice.device, 1)
    assert first.retry_in_us > 0
    world.later(first.retry_in_us / 1e6)
    assert describe(world, "alice").sends[0].attempts == 2
    assert world.host.counts["retried"] >= 1
    bob.confirm(bob.last)
    world.later(60)
    bob.confirm(bob.last)
    world.run()
    assert describe(world, "alice").sends == ()


def test_delivered_messages_are_counted_once() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    for n in range(5):
        alice.say("bob", f"number {n}")
    counts = world.host.counts
    assert counts["delivered"] == 5
    bob.confirm(bob.last)
    world.run()
    assert counts["delivered"] == 5


def test_a_message_that_waits_is_not_delivered() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    bob.disconnect()
    alice.say("bob", "hello")
    assert world.host.counts["delivered"] == 0
    bob.connect()
    assert world.host.counts["delivered"] == 1


def test_a_confirm_of_many_counts_what_no_device_had_confirmed() -> None:
    world = World()
    alice, carl, bob = world.phone("alice"), world.phone("carl"), world.phone("bob")
    bob.auto_confirm = False
    for n in range(3):
        alice.say("bob", f"number {n}")
    carl.say("bob", "from carl")
    bob.confirm(bob.items[1].q)
    world.run()
    assert world.host.counts["delivered"] == 2
    bob.confirm(bob.last)
    world.run()
    assert world.host.counts["delivered"] == 4
