"""The sign-up desk: waits, caps, tries, one-time use, and that it tells nobody who exists."""

import hmac

import pytest

from tests.logic.desk_world import ALICE, BOB, DAY_S, HOME, DeskWorld, hash_of
from whimbrel.domain.answers import DeskDescription, PinRequested, Rejected, Removed
from whimbrel.domain.desk import SignupLimits
from whimbrel.domain.effects import Note, Reply, SendPin, Tell
from whimbrel.domain.ids import account_number
from whimbrel.domain.limits import Limits
from whimbrel.domain.messages import CloseNumber, DescribeDesk, Register, RequestPin, VerifyPin
from whimbrel.domain.rows import CounterRow, SignupRow
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import NEVER
from whimbrel.logic import desk as rules


def test_a_right_pin_becomes_a_registration_at_the_numbers_own_actor() -> None:
    world = DeskWorld()
    assert world.request() == PinRequested("", 60, 600)
    assert world.sent() == [(ALICE, "12345")]
    assert world.verify("12345") == ""
    (tell,) = [effect for effect in world.effects if isinstance(effect, Tell)]
    assert tell == Tell(account_number(ALICE), Register(ALICE, b"k" * 32, "phone", 8))
    assert not any(isinstance(effect, Reply) for effect in world.effects)


def test_a_pin_works_once_also_after_a_restart() -> None:
    world = DeskWorld()
    world.request()
    assert world.verify("12345") == ""
    assert world.verify("12345") == "pin-wrong"
    world.restart()
    assert world.verify("12345") == "pin-wrong"


def test_a_pin_survives_a_restart() -> None:
    world = DeskWorld()
    world.request()
    world.restart()
    assert world.verify("12345") == ""


def test_a_pin_ends_after_ten_minutes() -> None:
    world = DeskWorld()
    world.request()
    world.later(599)
    assert world.verify("99999") == "pin-wrong"
    world.later(1)
    assert world.verify("12345") == "pin-wrong"


def test_after_five_wrong_tries_the_right_pin_is_worthless_and_a_new_one_is_not() -> None:
    world = DeskWorld()
    world.request()
    for _ in range(5):
        assert world.verify("00000") == "pin-wrong"
    world.restart()
    assert world.verify("12345") == "pin-wrong"
    world.later(60)
    world.request(pin="54321")
    assert world.verify("54321") == ""


def test_four_wrong_tries_leave_the_fifth() -> None:
    world = DeskWorld()
    world.request()
    for _ in range(4):
        world.verify("00000")
    assert world.verify("12345") == ""


def test_a_new_pin_ends_the_old_one() -> None:
    world = DeskWorld()
    world.request(pin="11111")
    world.later(60)
    world.request(pin="22222")
    assert world.verify("11111") == "pin-wrong"
    assert world.verify("22222") == ""


def test_waits_for_one_number_grow_whatever_address_asks() -> None:
    world = DeskWorld()
    waits = []
    for turn in range(7):
        client = f"192.0.2.{turn}"
        answer = world.request(client=client)
        assert answer.code == ""
        waits.append(answer.retry_after_s)
        world.later(answer.retry_after_s - 1)
        assert world.request(client=client) == PinRequested("rate-limited", 1, 0)
        world.restart()
        assert world.request(client=client).code == "rate-limited"
        world.later(1)
    assert waits == [60, 120, 300, 900, 3_600, 3_600, 3_600]


def test_using_a_pin_does_not_shorten_the_wait() -> None:
    world = DeskWorld()
    world.request()
    assert world.verify("12345") == ""
    assert world.request() == PinRequested("rate-limited", 60, 0)


def test_a_number_gets_ten_pins_a_day_and_more_on_the_next() -> None:
    world = DeskWorld()
    for _ in range(10):
        answer = world.request()
        assert answer.code == ""
        world.verify("12345")
        world.later(answer.retry_after_s)
    left_s = DAY_S - (world.now_us // 1_000_000) % DAY_S
    assert world.request() == PinRequested("rate-limited", left_s, 0)
    world.later(left_s)
    assert world.request() == PinRequested("", 60, 600)  # the waits start anew, too


def test_a_wait_that_crosses_midnight_still_counts() -> None:
    world = DeskWorld()
    world.later(22.99 * 3600)  # less than a minute before midnight
    world.request()
    world.later(50)
    assert world.request().code == "rate-limited"
    world.later(10)
    assert world.request().retry_after_s == 60  # a new day: the waits start anew


def test_an_address_waits_longer_and_longer_after_its_first_numbers() -> None:
    world = DeskWorld()
    waits = []
    for turn in range(11):
        number = f"+49151000000{turn:02}"
        answer = world.request(number)
        if answer.code:
            waits.append(answer.retry_after_s)
            world.later(answer.retry_after_s - 1)
            world.restart()
            assert world.request(number).code == "rate-limited"
            world.later(1)
            assert world.request(number).code == ""
        assert world.request(BOB, client="198.51.100.9").code in ("", "rate-limited")
    assert waits == [10, 30, 60, 120, 300, 300]


def test_an_address_gets_a_hundred_pins_a_day_and_others_go_on() -> None:
    world = DeskWorld()
    sent = 0
    for turn in range(300):
        answer = world.request(f"+49151{turn:08}")
        if answer.code and answer.retry_after_s > 300:
            break
        sent += answer.code == ""
        world.later(answer.retry_after_s if answer.code else 1)
    assert sent == 100
    assert world.request(BOB, client="198.51.100.9").code == ""


@pytest.mark.parametrize(
    "limits",
    [
        SignupLimits(per_prefix=3),
        SignupLimits(per_prefix_of={"+49": 3}),
        SignupLimits(in_all=3),
    ],
)
def test_a_country_and_the_whole_server_have_a_cap(limits: SignupLimits) -> None:
    world = DeskWorld(limits)
    for turn in range(3):
        assert world.request(f"+4915100000{turn:03}", client=f"192.0.2.{turn}").code == ""
    world.restart()
    refused = world.request(BOB, client="192.0.2.99")
    assert (refused.code, refused.retry_after_s) == ("rate-limited", 23 * 3600)
    other = world.request("+33612345678", client="192.0.2.98", prefix="+33")
    assert other.code == ("rate-limited" if limits.in_all == 3 else "")


def test_a_refused_request_writes_nothing_and_sends_nothing() -> None:
    world = DeskWorld()
    world.request()
    world.request()
    assert [type(effect) for effect in world.effects] == [Note, Reply]


def test_wrong_tries_of_a_number_are_limited_by_the_day_over_all_its_pins() -> None:
    world = DeskWorld()
    for turn in range(4):
        answer = world.request(client=f"192.0.2.{turn}")
        for _ in range(5):
            assert world.verify("00000", client=f"192.0.2.{turn}") == "pin-wrong"
        world.later(answer.retry_after_s)
    world.request(client="192.0.2.50")
    world.restart()
    assert world.verify("12345", client="192.0.2.50") == "rate-limited"
    world.later(DAY_S)
    world.request(client="192.0.2.50")
    assert world.verify("12345", client="192.0.2.50") == ""


def test_wrong_tries_of_an_address_and_of_all_are_limited_by_the_day() -> None:
    world = DeskWorld(SignupLimits(wrong_per_client=3))
    world.request()
    for turn in range(3):
        assert world.verify("00000", number=f"+491510000000{turn}") == "pin-wrong"
    assert world.verify("12345") == "rate-limited"
    assert world.verify("12345", client="198.51.100.9") == ""
    world = DeskWorld(SignupLimits(wrong_in_all=2))
    world.request()
    for turn in range(9):  # tries against no PIN are no guesses
        assert world.verify("00000", BOB, client=f"192.0.2.{turn}") == "pin-wrong"
    for turn in range(2):
        assert world.verify("00000", client=f"192.0.2.{turn}") == "pin-wrong"
    assert world.verify("12345", client="192.0.2.77") == "rate-limited"


def test_nobody_can_tell_numbers_with_a_pin_from_numbers_without() -> None:
    """The same answers, the same counters: for a pending, an expired and no PIN at all."""
    kinds = []
    for prepare in ("pending", "expired", "used", "never"):
        world = DeskWorld()
        if prepare == "pending":
            world.later(600)
        if prepare != "never":
            world.request(client="198.51.100.9")
        if prepare == "used":
            world.verify("12345", client="198.51.100.9")
        if prepare != "pending":
            world.later(600)
        said = []
        for _ in range(21):
            said.append(world.verify("00000", client="192.0.2.2"))
            answers = [e.answer for e in world.effects if isinstance(e, Reply)]
            said.append(repr(answers))
        counters = {row.key: row.used for row in world.counters.values() if "wrong:" in row.key}
        kinds.append((said, counters))
    assert all(kind == kinds[0] for kind in kinds)
    assert kinds[0][0][-2] == "rate-limited"


def test_the_desk_never_asks_who_exists() -> None:
    """A request tells no other actor anything; so it cannot depend on an account."""
    world = DeskWorld()
    world.request()
    assert {type(effect) for effect in world.effects} == {
        SignupRow,
        CounterRow,
        Note,
        SendPin,
        Reply,
    }


def test_hashes_are_compared_in_constant_time_for_known_and_unknown_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return hmac.compare_digest(a, b)

    monkeypatch.setattr(rules, "compare_digest", compare)
    world = DeskWorld()
    world.request()
    world.verify("00000")
    world.verify("00000", BOB)
    assert compared == [(hash_of("12345"), hash_of("00000")), (bytes(32), hash_of("00000"))]


def test_an_empty_or_zero_hash_opens_nothing() -> None:
    world = DeskWorld()
    world.request()
    world.verify("12345")
    for forged in (b"", bytes(32)):
        message = VerifyPin(ALICE, HOME, forged, b"k" * 32, "", 9)
        assert not any(isinstance(effect, Tell) for effect in world.say(message))
        message = VerifyPin(BOB, HOME, forged, b"k" * 32, "", 9)
        assert not any(isinstance(effect, Tell) for effect in world.say(message))


def test_a_pin_that_was_not_sent_is_void_and_does_not_count() -> None:
    world = DeskWorld()
    for turn in range(10):
        client = f"192.0.2.{turn}"
        assert world.request(client=client).code == ""
        world.not_sent()
        assert world.verify("12345") == "pin-wrong"
        assert world.request(client=client) == PinRequested("rate-limited", 60, 0)
        world.later(60)
        world.not_sent()  # said twice: nothing more is given back
    assert world.signups[ALICE].sends_today == 0


def test_a_provider_that_always_fails_cannot_be_used_to_flood_a_number() -> None:
    world = DeskWorld()
    sent = 0
    for turn in range(200):
        answer = world.request(client=f"192.0.2.{turn}")
        sent += answer.code == ""
        world.not_sent()
        world.later(max(answer.retry_after_s, 1) if answer.retry_after_s <= 3_600 else 1)
    assert sent == 20  # ten given back, ten counted


def test_an_alarm_forgets_numbers_and_counters_of_earlier_days() -> None:
    world = DeskWorld()
    world.request()
    world.verify("00000")
    assert 0 < world.desk.alarm_us < NEVER
    assert not rules.idle(world.desk)
    world.later(7_200)  # no wait and no PIN is left, but the day's counts are still needed
    world.alarm()
    assert world.signups[ALICE].sends_today == 1
    assert "pins" in world.counters
    world.later(DAY_S)
    world.alarm()
    assert (world.signups, world.counters) == ({}, {})
    assert (world.desk.signups, world.desk.counters) == ({}, {})
    assert world.desk.alarm_us == NEVER
    assert rules.idle(world.desk)


def test_old_rows_found_at_a_start_are_due_at_once() -> None:
    world = DeskWorld()
    world.request()
    world.later(DAY_S)
    world.restart()
    assert world.desk.alarm_us == 0


def test_what_is_forgotten_in_one_turn_is_bounded() -> None:
    limits = SignupLimits(per_client=10_000, client_free=10_000)
    world = DeskWorld(limits)
    for turn in range(1_500):
        world.request(f"+49151{turn:08}")
    world.later(DAY_S)
    world.alarm()
    assert len(world.signups) == 500
    world.alarm()
    assert world.signups == {}


def test_a_desk_that_remembers_too_much_says_busy_and_still_lets_known_numbers_in() -> None:
    world = DeskWorld(SignupLimits(rows_max=8))
    world.request()
    while world.request(f"+4915{world.now_us % 10**9:09}").code == "":
        world.later(10)
        assert len(world.signups) < 10
    assert world.request(BOB, client="198.51.100.9") == PinRequested("busy", 60, 0)
    size = len(world.counters)
    assert world.verify("00000", BOB, client="198.51.100.8") == "pin-wrong"
    assert len(world.counters) == size
    assert world.verify("12345") == ""


def test_a_message_that_killed_the_desk_is_answered_by_name() -> None:
    message = RequestPin(ALICE, "+49", HOME, "12345", b"", 5)
    turn = Turn(0, 0, Limits())
    desk = DeskWorld().desk
    assert rules.poison(desk, message, turn) == [Reply(5, Rejected("internal"))]


@pytest.mark.parametrize(
    ("limits", "key"),
    [
        (SignupLimits(pin_digits=3), "pin_digits"),
        (SignupLimits(pin_digits=9), "pin_digits"),
        (SignupLimits(number_waits_s=()), "number_waits_s"),
        (SignupLimits(client_waits_s=(30, 10)), "client_waits_s"),
        (SignupLimits(per_number=0), "per_number"),
        (SignupLimits(per_prefix_of={"+49": -1}), "per_prefix_of"),
    ],
)
def test_mistakes_in_the_limits_name_their_key(limits: SignupLimits, key: str) -> None:
    assert limits.mistake().startswith(key)
    assert SignupLimits().mistake() == ""


def test_the_figures_in_the_rules_docstring_follow_from_the_limits() -> None:
    limits, pins = SignupLimits(), 100_000
    text = " ".join((rules.__doc__ or "").split())
    assert 10**limits.pin_digits == pins
    assert limits.wrong_per_number / pins == 0.0002
    assert f"{limits.wrong_per_number} in 100,000 = 0.02 % a day" in text
    days = 1
    chance = 1 - limits.wrong_per_number / pins
    while chance**days > 0.5:
        days += 1
    assert f"{days - 1:,} days" in text or f"{days:,} days" in text
    assert limits.wrong_per_client / pins == 0.0005
    assert limits.wrong_in_all / pins == 0.1
    assert limits.wrong_in_all // limits.pin_tries == 2_000


# ---- administrators ---------------------------------------------------------------------


def close(world: DeskWorld, number: str, on: bool) -> str:
    world.say(CloseNumber(number, on, 9))
    (reply,) = [effect for effect in world.effects if isinstance(effect, Reply)]
    assert isinstance(reply.answer, Removed)
    return reply.answer.code


def described(world: DeskWorld) -> DeskDescription:
    (reply,) = world.say(DescribeDesk(9))
    assert isinstance(reply, Reply)
    assert isinstance(reply.answer, DeskDescription)
    return reply.answer


def test_a_closed_number_gets_no_pin_and_no_account_until_it_is_opened_again() -> None:
    world = DeskWorld()
    world.request()
    assert close(world, ALICE, True) == ""
    assert world.verify("12345") == "rate-limited"
    world.later(3 * DAY_S)
    world.alarm()
    world.restart()
    assert world.request().code == "rate-limited"
    assert world.sent() == []
    assert world.request(BOB).code == ""
    assert close(world, ALICE, False) == ""
    world.restart()
    assert world.request().code == ""


def test_a_number_that_was_not_closed_cannot_be_opened() -> None:
    world = DeskWorld()
    assert close(world, ALICE, False) == "not-found"
    close(world, ALICE, True)
    assert close(world, ALICE, False) == ""
    assert close(world, ALICE, False) == "not-found"


def test_the_desk_tells_who_is_refused_and_until_when() -> None:
    world = DeskWorld(SignupLimits(wrong_per_number=2, client_free=1))
    assert described(world).locks == ()
    close(world, BOB, True)
    world.request()
    for _ in range(2):
        world.verify("00000")
    found = described(world)
    assert {(lock.whom, lock.why) for lock in found.locks} == {
        (BOB, "closed"), (ALICE, "wrong"), (HOME, "wait"),
    }  # fmt: skip
    assert found.locks[0].why == "closed"
    assert all(lock.until_us > world.now_us for lock in found.locks[1:])
    assert (found.numbers, found.pins_today, found.wrong_today) == (1, 1, 2)
    world.later(DAY_S)
    assert [lock.why for lock in described(world).locks] == ["closed"]
