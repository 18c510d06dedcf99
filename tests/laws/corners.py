"""Scenes of rules that are seldom needed: deadlines, rewinds, late words of old sessions.

Found by taking every condition and every assignment of the rules away, one at a time, and
asking which of them nobody missed.
"""

from collections.abc import Callable

from tests.laws.scenes import HOUR_US, lost, two
from tests.laws.witness import Witness, check, check_memory
from tests.world import Phone, World, hash_of
from whimbrel.domain import answers as a
from whimbrel.domain import messages as m
from whimbrel.domain.errors import EXPIRED, BodyTooBig, Busy
from whimbrel.domain.limits import Limits
from whimbrel.domain.rows import COPY, FAILURE
from whimbrel.storage.memory import Fate

DAY_S = 86_400


def linked(world: World, phone: Phone, key: str = "tablet") -> Phone:
    phone.tell(m.Link(phone.device, phone.session, hash_of(key), key, 1))
    world.run()
    return Phone(world, phone.address, phone.of(a.LinkDone)[-1].device, key)


def a_message_past_its_deadline_is_given_back() -> None:
    world, alice, bob = two()
    with lost(world, m.Deliver):
        alice.say("bob", "too late")
        alice.disconnect()
        world.later(31 * DAY_S)
    world.boot()
    alice.connect()
    codes = [item.code for item in alice.items if item.kind == FAILURE]
    check(5, "a retry ends aloud", codes == [EXPIRED], f"the sender heard {codes}")
    bob.connect()
    check(5, "a retry ends aloud", bob.texts() == [], "and it was shown after all")
    check_memory(world)


def a_deliver_past_its_deadline_is_refused() -> None:
    world, alice, bob = two()
    now_us = world.clock.now_us()
    late = m.Deliver(alice.number, "alice", now_us, 0, now_us, now_us - HOUR_US, 1, 1, b"late")
    with lost(world) as said:
        world.engine.post(bob.number, late)
        world.run()
    codes = [ack.code for ack in said if isinstance(ack, m.Ack)]
    check(5, "a retry ends aloud", codes == [EXPIRED], f"answered {codes}")
    check_memory(world)


def what_was_told_in_a_failed_turn_is_not_heard() -> None:
    """More receipts than one turn may tell, and their confirm was never written."""
    world = World(Limits(turn_messages_max=1))
    senders = [world.phone(f"sender{n}") for n in range(40)]
    bob = world.register("bob")
    bob.auto_confirm = False
    for sender in senders:
        sender.say("bob", "hello")
    bob.connect()
    witness = Witness(world)
    for sender in senders:
        witness.watch(sender)
    world.store.fate = lambda batch: Fate.FAIL
    bob.confirm(bob.last)
    world.run()
    assert not world.engine.ready
    world.store.fate = lambda batch: Fate.COMMIT
    world.later(1)
    for sender in senders:
        sender.attach()
    world.run()
    marked = sum(1 for sender in senders if sender.marks("bob")[0])
    check(1, "nothing of a failed commit is visible", not marked, f"{marked} second marks")


def sessions_hear_of_a_failed_commit() -> None:
    world, alice, bob = two()
    world.store.fate = lambda batch: Fate.FAIL
    c = alice.say("bob", "hello")
    heard = alice.of(a.UnknownSession) and bob.of(a.UnknownSession)
    check(5, "nothing is dropped in silence", heard, "nobody was told to try again")
    check(1, "one check mark is on disk", not alice.answers(c), "a check mark left")


def a_rewind_sends_again() -> None:
    world, alice, bob = two()
    bob.auto_confirm = False
    for n in range(3):
        alice.say("bob", f"m{n}")
    before = len(bob.heard)
    bob.tell(m.Rewind(bob.device, bob.session, 1))
    world.run()
    again = [item.q for item in bob.heard[before:] if isinstance(item, a.Item)]
    check(2, "a gap is asked for", again == [2, 3], f"after a rewind came {again}")


def items_nobody_confirms_are_sent_again() -> None:
    world, alice, bob = two()
    deliver = bob.deliver
    bob.deliver = lambda answer: None  # type: ignore[method-assign]
    alice.say("bob", "lost on the way")
    bob.deliver = deliver  # type: ignore[method-assign]
    world.later(2 * world.limits.rewind_s)
    check(2, "sent again until confirmed", bob.texts() == ["lost on the way"], "it never came")


def an_older_session_cannot_come_back() -> None:
    """A replaced session that attaches late is told so, and takes nothing from the new one."""
    world, alice, bob = two()
    old = m.Attach(bob.device, world.sessions.open(bob), bob.ordinal, 0, 0)
    bob.session = 0
    bob.connect()
    before = len(bob.heard)
    world.engine.post(bob.number, old)
    world.run()
    gone = a.Gone("replaced") in bob.heard[before:]
    check(6, "one session a device", gone, "an older session attached")
    alice.say("bob", "to the new one")
    check(6, "one session a device", bob.texts() == ["to the new one"], f"{bob.texts()}")


def an_account_has_a_bounded_number_of_devices() -> None:
    world, _alice, bob = two(Limits(devices_max=3))
    for n in range(4):
        bob.tell(m.Link(bob.device, bob.session, hash_of(f"{n}"), "tablet", n))
    world.run()
    codes = [(done.device, done.code) for done in bob.of(a.LinkDone)]
    expected = [(2, ""), (3, ""), (0, Busy.code), (0, Busy.code)]
    check(5, "devices are bounded", codes == expected, f"answered {codes}")
    check_memory(world)


def refusals_are_not_remembered_for_ever() -> None:
    world, alice, bob = two()
    bob.block("alice")
    for n in range(100):
        alice.say("bob", f"m{n}")
    kept = len(world.state("bob").pairs[alice.number].ring)
    most = world.limits.open_per_peer_max
    check(5, "refusals are forgotten", kept <= most, f"{kept} refusals are remembered")
    bob.block("alice", False)
    for n in range(2):
        alice.say("bob", f"m{n}")
    kept = len(world.state("bob").pairs[alice.number].ring)
    check(5, "refusals are forgotten", kept == 0, f"{kept} refusals are remembered")
    check_memory(world)


def what_the_edge_found_unfit_uses_its_number_up() -> None:
    world, alice, bob = two()
    code = BodyTooBig.code
    unfit = m.Submit(alice.device, alice.session, 1, "bob", bob.number, 7, b"", code)
    alice.tell(unfit)
    world.run()
    alice.submitted = 1
    answers = alice.answers(1)
    check(5, "refused aloud", answers == [a.SubmitRefused(1, code)], f"answered {answers}")
    alice.say("bob", "shorter")
    check(2, "a refusal uses its number up", bob.texts() == ["shorter"], f"{bob.texts()}")
    check_memory(world)


def a_device_that_was_away_gets_the_copies() -> None:
    world, _alice, bob = two()
    tablet = linked(world, bob)
    c = bob.say("alice", "from the phone")
    world.engine.sweep(world.clock.mono_us + 10**9)
    tablet.connect()
    copies = [(item.c, item.body) for item in tablet.items if item.kind == COPY]
    check(2, "whoever must show it gets it", copies == [(c, b"from the phone")], f"{copies}")
    check_memory(world)


def a_trimmed_inbox_is_announced_to_those_who_were_away() -> None:
    world, alice, bob = two(Limits(inbox_messages_max=20, trim_slice=5))
    bob.disconnect()
    for n in range(20):
        alice.say("bob", f"m{n}")
    alice.disconnect()
    carol = world.phone("carol")
    carol.say("bob", "one more")
    world.later(60)
    check_memory(world)
    world.boot()
    alice.connect()
    failures = [item.kind for item in alice.items if item.kind == FAILURE]
    check(5, "nothing is dropped in silence", failures == [FAILURE], "the sender was not told")
    bob.connect()
    check(5, "nothing is dropped in silence", len(bob.texts()) == 16, f"{len(bob.texts())} came")
    check_memory(world)


def marks_that_wait_are_one_item_a_peer() -> None:
    world, alice, bob = two()
    alice.disconnect()
    for n in range(10):
        alice.connect()
        alice.auto_confirm = False
        alice.say("bob", f"m{n}")
        alice.disconnect()
    check_memory(world)
    check(2, "nothing is lost", len(bob.texts()) == 10, f"{len(bob.texts())} of 10 came")


SCENES: dict[str, Callable[[], None]] = {
    scene.__name__: scene
    for scene in (
        a_message_past_its_deadline_is_given_back,
        a_deliver_past_its_deadline_is_refused,
        what_was_told_in_a_failed_turn_is_not_heard,
        sessions_hear_of_a_failed_commit,
        a_rewind_sends_again,
        items_nobody_confirms_are_sent_again,
        an_older_session_cannot_come_back,
        an_account_has_a_bounded_number_of_devices,
        refusals_are_not_remembered_for_ever,
        what_the_edge_found_unfit_uses_its_number_up,
        a_device_that_was_away_gets_the_copies,
        a_trimmed_inbox_is_announced_to_those_who_were_away,
        marks_that_wait_are_one_item_a_peer,
    )
}
