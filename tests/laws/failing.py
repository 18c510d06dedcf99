"""Scenes in which the server itself fails: another owner, a crashing rule, a slow disk.

Laws 1, 6 and 7. The rules of a world can be exchanged like those of a running node, so a
rule that raises is a wrapped one, in the same reload-safe table.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tests.laws.witness import Witness, check
from tests.world import World, hash_of
from whimbrel.domain import answers as a
from whimbrel.domain import messages as m
from whimbrel.domain.errors import UNDELIVERABLE
from whimbrel.domain.ids import account_number
from whimbrel.domain.limits import Limits
from whimbrel.domain.rows import FAILURE
from whimbrel.logic import user as user_rules
from whimbrel.storage.memory import Fate


class RuleBug(Exception):
    """What a rule with a bug raises."""


def rules_with(kind: type[m.ToActor], spoil: Callable[[Any], bool]) -> Any:
    """The rules, but that for `kind` changes the state and then raises where `spoil` says so."""
    handlers: dict[type[m.ToActor], Any] = dict(user_rules.HANDLERS)  # type: ignore[arg-type]
    sound = handlers[kind]

    def rule(user: Any, message: Any, turn: Any) -> Any:
        effects = sound(user, message, turn)
        if spoil(message):
            raise RuleBug
        return effects

    handlers[kind] = rule
    return SimpleNamespace(**{**vars(user_rules), "HANDLERS": handlers})


class Once:
    """True the first time it is asked."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, message: Any) -> bool:
        first, self.asked = not self.asked, True
        return first


# ---- law 6: one owner ----------------------------------------------------------------------------


def a_node_that_was_taken_over_answers_nobody() -> None:
    old = World()
    alice, _bob = old.phone("alice"), old.phone("bob")
    c = alice.say("bob", "one")
    Witness(old).watch(alice)
    World(disk=old.disk)  # takes over
    before = len(alice.heard)
    alice.submit("bob", "one", c)  # a repetition: nothing to write, yet a promise
    old.run()
    heard = [answer for answer in alice.heard[before:] if not isinstance(answer, a.UnknownSession)]
    check(6, "only the owner answers", not heard, f"said {heard}")
    check(6, "only the owner answers", not old.engine.ready, "it does not know that it lost")


def a_node_that_was_taken_over_writes_nothing() -> None:
    old = World()
    alice, bob = old.phone("alice"), old.phone("bob")
    Witness(old).watch(alice)
    World(disk=old.disk)
    c = alice.say("bob", "one")
    rows = old.disk.tables.sent.get(alice.number, {})
    check(6, "only the owner writes", not rows, "a zombie wrote")
    check(6, "only the owner answers", not alice.answers(c), "a zombie gave a check mark")
    check(6, "only the owner answers", not bob.texts(), "a zombie pushed a message")


# ---- law 7: let it crash -------------------------------------------------------------------------


def a_rule_that_raises_halfway_changes_nothing() -> None:
    world = World(rules=rules_with(m.Deliver, Once()))
    alice, bob = world.phone("alice"), world.phone("bob")
    alice.say("bob", "hello")
    world.later(60)
    check(7, "a crash loses nothing", bob.texts() == ["hello"], f"shown: {bob.texts()}")


def a_message_is_tried_again_after_a_crash() -> None:
    """Whoever repeats himself would never notice; a caller that waits for its reply does."""
    world = World(rules=rules_with(m.Register, Once()))
    answers: list[a.ToSession | None] = []
    world.host.replies[1] = answers.append
    number = account_number("alice")
    world.engine.post(number, m.Register("alice", hash_of("key"), "phone", 1))
    world.run()
    check(7, "a crash loses nothing", answers == [a.Registered("alice", 1, True)], f"{answers}")


def a_message_that_kills_twice_is_set_aside_visibly() -> None:
    world = World(rules=rules_with(m.Deliver, lambda deliver: deliver.body == b"poison"))
    alice, bob = world.phone("alice"), world.phone("bob")
    alice.say("bob", "poison")
    alice.say("bob", "fine")
    world.later(60)
    check(7, "poison is set aside", bob.texts() == ["fine"], f"shown: {bob.texts()}")
    letters = [letter.kind for letter in world.disk.tables.dead_letters]
    check(7, "poison is visible", letters == ["Deliver"], f"dead letters: {letters}")
    codes = [item.code for item in alice.items if item.kind == FAILURE]
    check(7, "poison is visible", codes == [UNDELIVERABLE], f"the sender heard {codes}")


def sessions_of_a_crashed_actor_attach_again() -> None:
    world = World(rules=rules_with(m.Typing, Once()))
    alice, bob = world.phone("alice"), world.phone("bob")
    bob.tell(m.Typing(bob.device, bob.session, "alice", alice.number, True))
    world.run()
    alice.say("bob", "still there?")
    heard = bob.texts() == ["still there?"]
    check(7, "sessions attach again", heard, "a session was forgotten by a crash")


def a_crashed_actor_waits_for_its_own_rows() -> None:
    """Loaded again while its rows are still being written, it would not know them."""
    world = World(rules=rules_with(m.Typing, Once()))
    alice, bob = world.phone("alice"), world.phone("bob")
    world.store.fate = lambda batch: Fate.HANG
    alice.submit("bob", "one")
    world.run()
    alice.tell(m.Typing(alice.device, alice.session, "bob", bob.number, True))
    world.run()
    c = alice.submit("bob", "two")
    world.run()
    world.store.fate = lambda batch: Fate.COMMIT
    world.store.resume()
    world.run()
    [answer] = alice.answers(c)
    check(7, "a crash loses nothing", isinstance(answer, a.Stored), f"answered {answer}")
    check(7, "a crash loses nothing", bob.texts() == ["one", "two"], f"{bob.texts()}")


# ---- laws 1 and 5: a slow disk -------------------------------------------------------------------


def nothing_leaves_while_the_disk_hangs() -> None:
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    world.store.fate = lambda batch: Fate.HANG
    c = alice.say("bob", "hello")
    alice.submit("bob", "hello", c)
    world.run()
    check(1, "nothing leaves before its commit", not alice.answers(c), "a check mark left")
    check(1, "nothing leaves before its commit", not bob.texts(), "a message left")
    world.store.fate = lambda batch: Fate.COMMIT
    world.store.resume()
    world.run()
    check(1, "and then it leaves", len(alice.answers(c)) == 2, f"{alice.answers(c)}")
    check(2, "shown once", bob.texts() == ["hello"], f"shown: {bob.texts()}")


def an_actor_with_uncommitted_rows_stays_awake() -> None:
    """Loaded again too early, it would not know what it has promised."""
    world = World()
    alice, bob = world.phone("alice"), world.phone("bob")
    world.store.fate = lambda batch: Fate.HANG
    alice.submit("bob", "one")
    world.run()
    world.engine.sweep(world.clock.mono_us + 10**9)
    c = alice.submit("bob", "two")
    world.run()
    world.store.fate = lambda batch: Fate.COMMIT
    world.store.resume()
    world.run()
    [answer] = alice.answers(c)
    check(1, "what was promised is known", isinstance(answer, a.Stored), f"answered {answer}")
    check(1, "what was promised is known", bob.texts() == ["one", "two"], f"{bob.texts()}")


def a_block_holds_while_its_row_is_being_written() -> None:
    """A refused submit makes the rules forget the pair; what it says is not on disk yet."""
    world = World()
    alice = world.phone("alice")
    ghost, now_us = account_number("ghost"), world.clock.now_us()
    world.store.fate = lambda batch: Fate.HANG
    alice.block("ghost")
    alice.say("ghost", "are you there?")
    spam = m.Deliver(ghost, "ghost", now_us, 0, now_us, now_us + 10**9, 1, 1, b"spam")
    world.engine.post(alice.number, spam)
    world.run()
    world.store.fate = lambda batch: Fate.COMMIT
    world.store.resume()
    world.run()
    check(1, "what was promised is known", alice.texts() == [], f"shown: {alice.texts()}")


def nothing_goes_on_behind_a_failed_commit() -> None:
    """Five submits wait for a load, two of them are in the commit that fails."""
    world = World(Limits(turn_messages_max=2), inline=False)
    alice, bob = world.phone("alice"), world.phone("bob")
    witness = Witness(world)
    witness.watch(alice)
    witness.watch(bob)
    assert world.engine.sweep(world.clock.mono_us + 10**9)
    world.store.fate = lambda batch: Fate.FAIL
    for n in range(5):
        alice.submit("bob", f"m{n}")
    world.run()
    assert not world.engine.ready
    world.store.fate = lambda batch: Fate.COMMIT
    world.later(5)
    bob.attach()
    alice.attach()
    for n in range(5):
        alice.submit("bob", f"m{n}", n + 1)
    world.later(60)
    texts = [f"m{n}" for n in range(5)]
    check(1, "nothing of a failed commit is visible", bob.texts() == texts, f"{bob.texts()}")
    ids = [answer.id for answer in alice.of(a.Stored)]
    check(1, "nothing of a failed commit is visible", len(ids) == 5, f"{len(ids)} check marks")


def rows_behind_a_slow_disk_are_bounded() -> None:
    limits = Limits(batch_rows_max=20, turn_messages_max=2)
    world = World(limits)
    alice, bob = world.phone("alice"), world.phone("bob")
    world.store.fate = lambda batch: Fate.HANG
    for n in range(100):
        alice.submit("bob", f"m{n}")
    world.run()
    gathered = world.engine._open.rows
    check(5, "a batch is bounded", gathered <= 20 + 2 * 12, f"{gathered} rows wait")
    world.store.fate = lambda batch: Fate.COMMIT
    world.store.resume()
    world.run()
    check(5, "nothing is dropped in silence", len(bob.texts()) == 100, "a part never came")


SCENES: dict[str, Callable[[], None]] = {
    scene.__name__: scene
    for scene in (
        a_node_that_was_taken_over_answers_nobody,
        a_node_that_was_taken_over_writes_nothing,
        a_rule_that_raises_halfway_changes_nothing,
        a_message_is_tried_again_after_a_crash,
        a_message_that_kills_twice_is_set_aside_visibly,
        sessions_of_a_crashed_actor_attach_again,
        a_crashed_actor_waits_for_its_own_rows,
        nothing_leaves_while_the_disk_hangs,
        an_actor_with_uncommitted_rows_stays_awake,
        a_block_holds_while_its_row_is_being_written,
        nothing_goes_on_behind_a_failed_commit,
        rows_behind_a_slow_disk_are_bounded,
    )
}
