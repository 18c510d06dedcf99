"""Dialogues between users: what each says and sees, over the whole engine."""

import pytest

from tests.world import World
from whimbrel.domain import answers as a
from whimbrel.domain import im
from whimbrel.domain import messages as m
from whimbrel.domain.errors import TRIMMED
from whimbrel.domain.ids import account_number, submit_hash
from whimbrel.domain.limits import Limits
from whimbrel.domain.rows import COPY, FAILURE, TRIM


@pytest.fixture(params=[True, False], ids=["inline", "remote-reads"])
def world(request: pytest.FixtureRequest) -> World:
    return World(inline=request.param)


def test_a_message_arrives_and_both_check_marks_are_true(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    c = alice.say("bob", "A giant monster is attacking the Golden Gate Bridge")
    [stored] = alice.answers(c)
    assert isinstance(stored, a.Stored)
    assert bob.texts() == ["A giant monster is attacking the Golden Gate Bridge"]
    assert alice.marks("bob") == (stored.id, 0)
    bob.read("alice", stored.id)
    assert alice.marks("bob") == (stored.id, stored.id)


def test_no_second_mark_before_the_device_confirms(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    bob.auto_confirm = False
    c = alice.say("bob", "hello")
    assert bob.texts() == ["hello"]
    assert alice.marks("bob") == (0, 0)
    bob.confirm(bob.last)
    world.run()
    assert alice.marks("bob")[0] == alice.answers(c)[0].id  # type: ignore[attr-defined]


def test_a_message_waits_for_an_offline_recipient_and_comes_once(world: World) -> None:
    alice = world.phone("alice")
    bob = world.register("bob")
    alice.say("bob", "one")
    alice.say("bob", "two")
    world.boot()
    bob.connect()
    assert bob.texts() == ["one", "two"]
    bob.disconnect()
    world.boot()
    bob.connect()
    assert bob.texts() == ["one", "two"]
    alice.connect()
    assert alice.marks("bob")[0] == bob.items[-1].id


def test_a_retried_submit_is_answered_again_but_never_delivered_twice(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    c = alice.say("bob", "once")
    alice.submit("bob", "once", c)
    world.run()
    first, second = alice.answers(c)
    assert first == second
    assert bob.texts() == ["once"]


def test_the_same_number_for_another_message_is_refused(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    c = alice.say("bob", "once")
    alice.submit("bob", "something else", c)
    world.run()
    assert alice.answers(c)[-1] == a.SubmitRefused(c, "number-used")
    assert bob.texts() == ["once"]


def test_submit_numbers_may_not_jump(world: World) -> None:
    alice = world.phone("alice")
    world.register("bob")
    alice.submit("bob", "late", 5)
    world.run()
    assert alice.answers(5) == [a.SubmitRefused(5, "gap", 1)]


def test_an_unknown_recipient_is_refused_and_uses_the_number_up(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    c = alice.say("nobody", "hello?")
    assert alice.answers(c) == [a.SubmitRefused(c, "unknown-recipient")]
    alice.submit("nobody", "hello?", c)
    world.run()
    assert alice.answers(c)[-1] == a.SubmitRefused(c, "unknown-recipient")
    alice.say("bob", "next")
    assert bob.texts() == ["next"]


def test_nobody_finds_out_who_exists_faster_than_the_limit() -> None:
    world = World(Limits(new_contacts_per_hour=3))
    alice = world.phone("alice")
    for name in ("n1", "n2", "n3"):
        assert alice.answers(alice.say(name, "?"))[0].code == "unknown-recipient"  # type: ignore[attr-defined]
    c = alice.say("n4", "?")
    refused = alice.answers(c)[0]
    assert isinstance(refused, a.SubmitRefused)
    assert refused.code == "rate-limited"
    assert 0 < refused.retry_after_s <= 3_601
    world.later(refused.retry_after_s)
    alice.submit("n4", "?", c)
    world.run()
    assert alice.answers(c)[-1].code == "unknown-recipient"  # type: ignore[attr-defined]


def test_a_blocked_sender_sees_one_mark_for_ever(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    bob.block("alice")
    c = alice.say("bob", "listen!")
    assert isinstance(alice.answers(c)[0], a.Stored)
    assert bob.texts() == []
    assert alice.items == []
    bob.block("alice", False)
    world.later(4_000)
    assert bob.texts() == [], "a refusal is final"
    alice.say("bob", "friends again")
    assert bob.texts() == ["friends again"]


def test_a_new_registration_ends_the_old_session_and_its_key(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    new = world.register("bob", "another key")
    assert a.Gone("replaced") in bob.heard
    assert bob.connect() == a.Rejected("not-authorized")
    new.connect()
    alice.say("bob", "to the new phone")
    assert new.texts() == ["to the new phone"]
    assert bob.texts() == []


def test_a_new_device_gets_everything_that_waits(world: World) -> None:
    alice = world.phone("alice")
    world.register("bob")
    alice.say("bob", "one")
    alice.say("bob", "two")
    new = world.register("bob", "new key")
    new.connect()
    assert new.texts() == ["one", "two"]


def test_the_second_login_of_a_device_replaces_the_first(world: World) -> None:
    bob = world.phone("bob")
    old_session = bob.session
    bob.session = 0
    bob.connect()
    assert a.Gone("replaced") not in bob.heard[-1:]
    assert bob.session != old_session
    assert a.Gone("replaced") in bob.heard


def test_wrong_key_and_unknown_account_are_never_told_apart(world: World) -> None:
    bob = world.register("bob")
    bob.key = "guess"
    wrong = bob.connect()
    ghost = type(bob)(world, "ghost", 1, "x")
    assert ghost.connect() == wrong == a.Rejected("not-authorized")


def link(world: World, phone: "object", key: str) -> "object":
    from tests.world import Phone, hash_of

    assert isinstance(phone, Phone)
    phone.tell(m.Link(phone.device, phone.session, hash_of(key), "tablet", 7))
    world.run()
    done = phone.of(a.LinkDone)[-1]
    assert done.tag == 7
    tablet = Phone(world, phone.address, done.device, key)
    tablet.connect()
    return tablet


def test_two_devices_get_everything_and_the_body_waits_for_both(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    tablet = link(world, bob, "tablet key")
    tablet.disconnect()  # type: ignore[attr-defined]
    alice.say("bob", "for both")
    assert bob.texts() == ["for both"]
    assert alice.marks("bob")[0] > 0, "any device confirmed: second check"
    assert world.disk_bodies() if hasattr(world, "disk_bodies") else True
    tablet.connect()  # type: ignore[attr-defined]
    assert tablet.texts() == ["for both"]  # type: ignore[attr-defined]
    assert world.state("bob").waiting == 0


def test_what_one_device_sends_is_shown_on_the_other(world: World) -> None:
    world.phone("alice")
    bob = world.phone("bob")
    tablet = link(world, bob, "tablet key")
    c = bob.say("alice", "from the phone")
    copies = [i for i in tablet.items if i.kind == COPY]  # type: ignore[attr-defined]
    assert [(i.address, i.device, i.c, i.body) for i in copies] == [
        ("alice", bob.device, c, b"from the phone")
    ]
    own = [i for i in bob.items if i.kind == COPY]
    assert [i.body for i in own] == [None], "the sending device needs no body"


def test_a_full_inbox_is_trimmed_aloud_for_both_sides() -> None:
    world = World(Limits(inbox_messages_max=20, trim_slice=5))
    alice = world.phone("alice")
    bob = world.register("bob")
    for n in range(21):
        alice.say("bob", f"m{n}")
    bob.connect()
    assert bob.texts() == [f"m{n}" for n in range(5, 21)]
    trims = [i for i in bob.items if i.kind == TRIM]
    assert [(i.id, i.extra, i.code) for i in trims] == [(1, 5, TRIMMED)]
    failures = [i for i in alice.items if i.kind == FAILURE]
    ids = [stored.id for stored in alice.of(a.Stored)]
    assert [(f.extra, f.id, f.code) for f in failures] == [(ids[0], ids[4], TRIMMED)]
    assert alice.marks("bob")[0] == ids[-1]


def test_items_that_a_live_session_holds_are_never_trimmed() -> None:
    world = World(Limits(inbox_messages_max=20, trim_slice=5))
    alice, bob = world.phone("alice"), world.phone("bob")
    bob.auto_confirm = False
    for n in range(25):
        alice.say("bob", f"m{n}")
    assert bob.texts() == [f"m{n}" for n in range(20)], "the rest is busy, and stays open"
    bob.auto_confirm = True
    bob.confirm(bob.last)
    world.later(60)
    assert bob.texts() == [f"m{n}" for n in range(25)]


def test_messages_that_nobody_collects_expire_and_the_sender_hears_it(world: World) -> None:
    alice = world.phone("alice")
    bob = world.register("bob")
    alice.say("bob", "too late")
    world.later(31 * 86_400)
    alice.say("bob", "in time")
    world.engine.post(bob.number, m.ExpireInbox(world.clock.now_us() - 30 * 86_400 * 1_000_000))
    world.run()
    bob.connect()
    assert bob.texts() == ["in time"]
    assert [i.code for i in alice.items if i.kind == FAILURE] == ["expired"]


def test_a_backlog_larger_than_the_window_comes_whole_and_in_order() -> None:
    world = World(Limits(window_items_max=8, read_rows_max=8))
    alice = world.phone("alice")
    bob = world.register("bob")
    for n in range(100):
        alice.submit("bob", f"m{n}")
    world.run()
    bob.connect()
    assert bob.texts() == [f"m{n}" for n in range(100)]
    assert len(bob.of(a.EndOfQueue)) == 1
    assert world.state("bob").waiting == 0


def test_messages_that_arrive_while_a_backlog_is_streamed_keep_the_order() -> None:
    world = World(Limits(window_items_max=4))
    alice = world.phone("alice")
    bob = world.register("bob")
    for n in range(30):
        alice.submit("bob", f"m{n}")
    world.run()
    bob.session = world.sessions.open(bob)
    bob.tell(m.Hello(bob.device, bob.session, world_hash(bob.key), 0, 0))
    for n in range(30, 60):
        world.step()
        alice.submit("bob", f"m{n}")
    world.run()
    assert bob.texts() == [f"m{n}" for n in range(60)]


def world_hash(key: str) -> bytes:
    from tests.world import hash_of

    return hash_of(key)


def test_a_confirm_from_before_the_connection_covers_rows_nobody_remembers(world: World) -> None:
    alice = world.phone("alice")
    bob = world.register("bob")
    bob.auto_confirm = False
    for n in range(5):
        alice.say("bob", f"m{n}")
    bob.connect()
    assert bob.last == 5
    world.boot()  # the server forgets the session before the confirm came
    bob.auto_confirm = True
    bob.connect()
    assert bob.texts() == [f"m{n}" for n in range(5)]
    alice.connect()
    assert alice.marks("bob")[0] == alice.of(a.Stored)[-1].id
    assert world.state("bob").waiting == 0


def test_a_confirm_beyond_the_last_item_ends_the_session(world: World) -> None:
    bob = world.phone("bob")
    bob.confirm(99)
    world.run()
    assert bob.heard[-1] == a.Rejected("bad-confirm")


def test_reading_counts_only_what_was_delivered(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    bob.auto_confirm = False
    alice.say("bob", "hi")
    id = alice.of(a.Stored)[0].id
    bob.read("alice", id)
    assert alice.marks("bob") == (0, 0)


def test_typing_is_shown_to_those_who_know_each_other_only(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    alice.tell(m.Typing(alice.device, alice.session, "bob", account_number("bob"), True))
    world.run()
    assert bob.of(a.TypingShown) == []
    alice.say("bob", "hi")
    alice.tell(m.Typing(alice.device, alice.session, "bob", account_number("bob"), True))
    world.run()
    assert bob.of(a.TypingShown) == [a.TypingShown("alice", True)]


def test_presence_is_shown_to_those_one_has_written_to(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    alice.say("bob", "hi")
    watch = m.Watch(alice.device, alice.session, "bob", account_number("bob"))
    alice.tell(watch)
    world.run()
    assert alice.of(a.PresenceShown) == []
    bob.say("alice", "hello")
    alice.tell(watch)
    world.run()
    assert [p.online for p in alice.of(a.PresenceShown)] == [True]
    bob.disconnect()
    assert [p.online for p in alice.of(a.PresenceShown)] == [True, False]


def test_who_hides_is_away_to_those_who_watch_and_sees_nobody_else(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    alice.say("bob", "hi")
    bob.say("alice", "hello")
    watch = m.Watch(alice.device, alice.session, "bob", account_number("bob"))
    alice.tell(watch)
    world.run()
    assert [p.online for p in alice.of(a.PresenceShown)] == [True]
    bob.tell(m.Hide(bob.device, bob.session, True))
    world.run()
    assert bob.of(a.HideDone) == [a.HideDone(True)]
    assert alice.of(a.PresenceShown)[1:] == [a.PresenceShown("bob", False, 0)]
    alice.tell(watch)
    bob.tell(m.Watch(bob.device, bob.session, "alice", account_number("alice")))
    bob.disconnect()
    world.run()
    assert len(alice.of(a.PresenceShown)) == 2
    assert bob.of(a.PresenceShown) == []


def test_hiding_lasts_and_every_device_hears_of_it_until_it_ends(world: World) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    alice.say("bob", "hi")
    bob.say("alice", "hello")
    bob.tell(m.Hide(bob.device, bob.session, True))
    world.run()
    bob.disconnect()
    world.boot()
    bob.heard.clear()
    bob.connect()
    world.run()
    assert bob.of(a.HideDone) == [a.HideDone(True)]
    bob.tell(m.Hide(bob.device, bob.session, False))
    alice.connect()
    alice.tell(m.Watch(alice.device, alice.session, "bob", account_number("bob")))
    world.run()
    assert bob.of(a.HideDone) == [a.HideDone(True), a.HideDone(False)]
    assert [p.online for p in alice.of(a.PresenceShown)][-1:] == [True]


def test_a_deleted_account_is_unknown_and_its_numbers_are_never_given_twice(
    world: World,
) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    alice.say("bob", "one")
    assert world.ask(bob.number, m.RemoveAccount) == a.Removed()
    assert a.Gone("replaced") in bob.heard
    c = alice.say("bob", "two")
    world.later(5)
    assert isinstance(alice.answers(c)[0], a.Stored)
    assert [i.code for i in alice.items if i.kind == FAILURE] == ["unknown-recipient"]
    again = world.register("bob", "fresh")
    assert again.device > bob.device
    again.connect()
    alice.say("bob", "three")
    assert again.texts() == ["three"]


def test_a_peer_that_has_moved_is_tried_at_once_whatever_the_back_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    number, peer = account_number("alice"), account_number("bob")
    tell = world.engine.tell

    def deaf(key: int, message: m.ToActor) -> None:
        if not isinstance(message, m.Deliver):
            tell(key, message)

    monkeypatch.setattr(world.engine, "tell", deaf)
    alice.say("bob", "one")
    alice.say("bob", "two")
    world.later(200)
    opened = world.engine.cells[number].state.pairs[peer].open
    assert all(entry.attempts > 5 for entry in opened.values())
    monkeypatch.undo()
    world.run()
    assert bob.texts() == [], "the next try is a minute away"
    world.engine.post(number, m.TryAgain((peer, 12_345)))
    world.run()
    assert bob.texts() == ["one", "two"]
    assert not opened


def test_a_marker_of_an_earlier_session_is_looked_up_and_the_session_hears_of_it(
    world: World,
) -> None:
    alice, bob = world.phone("alice"), world.phone("bob")
    body, to = b"hello", "bob"
    alice.tell(
        m.Submit(
            alice.device, alice.session, 1, to, bob.number, submit_hash(to, body), body, "", "m1"
        )
    )
    world.run()
    id = bob.items[-1].id

    def mark(ref: str, tag: int) -> int:
        bob.tell(im.ReadRef(bob.device, bob.session, alice.number, ref, tag))
        world.run()
        assert im.Done(tag) in bob.heard, "else it would be asked again"
        read: int = world.state("bob").pairs[alice.number].read_id
        return read

    assert mark("another", 5) == 0
    assert mark("m1", 6) == id
    assert mark("m1", 7) == id
    bob.tell(im.ReadRef(bob.device, bob.session, account_number("nobody"), "m1", 8))
    world.run()
    assert im.Done(8) in bob.heard
