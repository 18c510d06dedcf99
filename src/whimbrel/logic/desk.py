"""The sign-up desk: trades a telephone number for a PIN, and the PIN for an account.

Fed by edge/http (RequestPin, VerifyPin) and by whoever sends text messages (PinNotSent). A
right PIN becomes Register, told to the number's own actor in the same turn, so that it and
the end of the PIN are one commit. The desk never asks whether an account exists: what it
answers cannot tell known numbers from unknown ones.

Law: a PIN works once; every try counts before it is judged; every cap ends in `rate-limited`.

How likely is a stranger to guess, with the limits as they come? A PIN is one of 100,000 and
allows 5 tries; a number allows 10 PINs and 20 wrong tries a day. So against one number: 20 in
100,000 = 0.02 % a day, and for an even chance 3,466 days (9.5 years) without a pause, with at
least four text messages a day that warn the owner. One network address has 50 wrong tries a
day: 0.05 %. Any number of addresses against all numbers together: 10,000 wrong tries a day,
0.1 accounts a day at the very most, and that at the price of 2,000 text messages. Each digit
more divides all of these by ten (`signup.pin_digits`).
"""

from collections.abc import Iterator
from hmac import compare_digest

from msgspec.structs import replace

from whimbrel.domain.answers import (
    DeskDescription,
    Lock,
    PinRefused,
    PinRequested,
    Rejected,
    Removed,
)
from whimbrel.domain.desk import Counter, Desk, SignupLimits
from whimbrel.domain.effects import Effect, Note, Reply, SendPin, Tell
from whimbrel.domain.errors import INTERNAL, Busy, NotFound, PinWrong, RateLimited
from whimbrel.domain.ids import account_number
from whimbrel.domain.messages import (
    Alarm,
    CloseNumber,
    DescribeDesk,
    PinNotSent,
    Register,
    RequestPin,
    ToActor,
    VerifyPin,
)
from whimbrel.domain.rows import CounterRow, CountersGone, SignupGone, SignupRow
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import NEVER
from whimbrel.domain.wants import DeskRows, DeskWant, Want

SECOND_US = 1_000_000
DAY_S = 86_400
BUSY_RETRY_S = 60
SWEEP_US = 600 * SECOND_US  # between two looks for what may be forgotten
SWEEP_AGAIN_US = SECOND_US
SWEEP_ROWS = 1_000  # forgotten in one turn
NO_HASH = bytes(32)
NO_DAY = 1 << 31  # later than any that comes
LOCKS_SHOWN = 200


def on_request(desk: Desk, m: RequestPin, turn: Turn) -> list[Effect]:
    """Send a PIN, unless a wait or a cap says no. Nothing is written for a refusal."""
    limits, now_s = desk.limits, turn.now_us // SECOND_US
    old = _signup(desk, m.number, turn)
    wait_s = max(
        -(-(old.next_send_us - turn.now_us) // SECOND_US),
        _used(desk, f"client-next:{m.client}", _day(now_s)) - now_s,
        _until_tomorrow(now_s) if _capped(desk, m, old, _day(now_s)) else 0,
        _until_tomorrow(now_s) if _closed(desk, m.number) else 0,
    )
    if wait_s > 0:
        return [
            Note("pin-refused:rate-limited"),
            Reply(m.reply, PinRequested(RateLimited.code, wait_s, 0)),
        ]
    if desk.full:
        return [
            Note("pin-refused:busy"),
            Reply(m.reply, PinRequested(Busy.code, BUSY_RETRY_S, 0)),
        ]
    wait_s = _step(limits.number_waits_s, old.sends)
    row = SignupRow(
        number=m.number,
        pin_hash=m.pin_hash,
        expires_us=turn.now_us + limits.pin_s * SECOND_US,
        tries=0,
        sends=old.sends + 1,
        next_send_us=turn.now_us + wait_s * SECOND_US,
        day=_day(now_s),
        sends_today=old.sends_today + 1,
    )
    desk.signups[m.number] = row
    _wake(desk, turn)
    return [
        row,
        *_count_request(desk, m, now_s),
        Note("pin-sent"),
        SendPin(m.number, m.pin),
        Reply(m.reply, PinRequested("", wait_s, limits.pin_s)),
    ]


def on_verify(desk: Desk, m: VerifyPin, turn: Turn) -> list[Effect]:
    """A right PIN is used up and becomes a registration; anything else is `pin-wrong`.

    Unknown number, expired or used PIN and wrong digits take the same path and leave the same
    counters behind, so that neither the answer nor its time tells them apart.
    """
    limits, now_s = desk.limits, turn.now_us // SECOND_US
    day = _day(now_s)
    if (
        _closed(desk, m.number)
        or _used(desk, f"wrong:{m.number}", day) >= limits.wrong_per_number
        or _used(desk, f"client-wrong:{m.client}", day) >= limits.wrong_per_client
        or _used(desk, "wrong", day) >= limits.wrong_in_all
    ):
        return [
            Note("pin-verify:rate-limited"),
            Reply(m.reply, PinRefused(RateLimited.code, _until_tomorrow(now_s))),
        ]
    row = desk.signups.get(m.number)
    good = (
        row is not None
        and row.pin_hash != b""
        and turn.now_us < row.expires_us
        and row.tries < limits.pin_tries
    )
    same = compare_digest(row.pin_hash if row is not None and good else NO_HASH, m.pin_hash)
    if row is None or not good or not same:
        return _wrong(desk, m, row if good else None, turn)
    used = desk.signups[m.number] = replace(row, pin_hash=b"", tries=0)  # the waits stay
    register = Register(m.number, m.key_hash, m.name, m.reply, m.scram)
    return [used, Note("pin-right"), Tell(account_number(m.number), register)]


def _wrong(desk: Desk, m: VerifyPin, good: SignupRow | None, turn: Turn) -> list[Effect]:
    """Count the try: for the PIN if one was good, and always for the number and the client."""
    day = _day(turn.now_us // SECOND_US)
    effects: list[Effect] = [Note("pin-wrong"), Reply(m.reply, PinRefused(PinWrong.code, 0))]
    if good is not None:
        row = desk.signups[m.number] = replace(good, tries=good.tries + 1)
        effects += [row, _count(desk, "wrong", day)]
    # Without a good PIN nothing can be guessed: such tries, which cost nothing, are no longer
    # counted when it gets crowded. Else thousands of networks could close sign-up for a day.
    if good is not None or not desk.crowded:
        effects += [
            _count(desk, f"wrong:{m.number}", day),
            _count(desk, f"client-wrong:{m.client}", day),
        ]
    _wake(desk, turn)
    return effects


def on_close_number(desk: Desk, m: CloseNumber, turn: Turn) -> list[Effect]:
    """An administrator's word. Kept as a counter of a day that does not come."""
    key = f"closed:{m.number}"
    old = desk.counters.get(key)
    if m.on and desk.full and old is None:
        return [Reply(m.reply, Removed(Busy.code))]
    if not m.on and (old is None or not old.used):
        return [Reply(m.reply, Removed(NotFound.code))]
    day = NO_DAY if m.on else _day(turn.now_us // SECOND_US)
    desk.counters[key] = Counter(day, int(m.on))
    _wake(desk, turn)
    return [CounterRow(key, day, int(m.on)), Reply(m.reply, Removed())]


def on_describe(desk: Desk, m: DescribeDesk, turn: Turn) -> list[Effect]:
    """Who is refused now, and why; the longest lock first."""
    now_s = turn.now_us // SECOND_US
    day = _day(now_s)
    locks = sorted(_locks(desk, turn, day), key=lambda lock: -(lock.until_us or NEVER))
    described = DeskDescription(
        len(desk.signups),
        _used(desk, "pins", day),
        _used(desk, "wrong", day),
        tuple(locks[:LOCKS_SHOWN]),
        len(locks) > LOCKS_SHOWN,
    )
    return [Reply(m.reply, described)]


def _locks(desk: Desk, turn: Turn, day: int) -> Iterator[Lock]:
    limits, tomorrow_us = desk.limits, (day + 1) * DAY_S * SECOND_US
    caps = {
        "wrong": (limits.wrong_per_number, "wrong"),
        "client-wrong": (limits.wrong_per_client, "wrong"),
        "client": (limits.per_client, "pins"),
    }
    for key, counter in desk.counters.items():
        kind, _, whom = key.partition(":")
        cap, why = caps.get(kind, (0, ""))
        if kind == "closed" and counter.used:
            yield Lock(whom, "closed", 0)
        elif kind == "client-next" and counter.used * SECOND_US > turn.now_us:
            yield Lock(whom, "wait", counter.used * SECOND_US)
        elif cap and whom and counter.day == day and counter.used >= cap:
            yield Lock(whom, why, tomorrow_us)
    for row in desk.signups.values():
        if row.day == day and row.sends_today >= limits.per_number:
            yield Lock(row.number, "pins", tomorrow_us)
    if _used(desk, "wrong", day) >= limits.wrong_in_all:
        yield Lock("", "wrong", tomorrow_us)
    if _used(desk, "pins", day) >= limits.in_all:
        yield Lock("", "pins", tomorrow_us)


def on_not_sent(desk: Desk, m: PinNotSent, turn: Turn) -> list[Effect]:
    """The text message failed: its PIN is void, and its number may ask again after one wait.

    Given back only so often a day: a provider that fails loudly but still delivers must not
    become a way to flood somebody's telephone.
    """
    row = desk.signups.get(m.number)
    if row is None or not row.pin_hash:
        return []
    day = _day(turn.now_us // SECOND_US)
    count = _count(desk, f"not-sent:{m.number}", day)
    row = replace(row, pin_hash=b"", tries=0)
    if count.used <= desk.limits.not_sent_per_number:
        again_us = turn.now_us + desk.limits.number_waits_s[0] * SECOND_US
        row = replace(
            row,
            sends=max(row.sends - 1, 0),
            sends_today=max(row.sends_today - 1, 0),
            next_send_us=min(row.next_send_us, again_us),
        )
    desk.signups[m.number] = row
    return [row, count, Note("pin-not-sent")]


def on_alarm(desk: Desk, m: Alarm, turn: Turn) -> list[Effect]:
    """Forget numbers and counters of earlier days, a slice at a time."""
    day = _day(turn.now_us // SECOND_US)
    effects: list[Effect] = []
    for number, row in desk.signups.items():
        if row.day < day and max(row.next_send_us, row.expires_us) <= turn.now_us:
            effects.append(SignupGone(number))
            if len(effects) == SWEEP_ROWS:
                break
    for gone in effects:
        assert isinstance(gone, SignupGone)
        del desk.signups[gone.number]
    more = len(effects) == SWEEP_ROWS
    old = [key for key, counter in desk.counters.items() if counter.day < day]
    for key in old:
        del desk.counters[key]
    if old:
        effects.append(CountersGone(day))
    desk.alarm_us = NEVER
    if desk.signups or desk.counters:
        desk.alarm_us = turn.mono_us + (SWEEP_AGAIN_US if more else SWEEP_US)
    return effects


# ---- waits and counters -----------------------------------------------------------------


def _signup(desk: Desk, number: str, turn: Turn) -> SignupRow:
    """What is remembered of a number. A new day starts the count and, after the wait, the waits."""
    day = _day(turn.now_us // SECOND_US)
    row = desk.signups.get(number)
    if row is None:
        return SignupRow(number, b"", 0, 0, 0, 0, day, 0)
    if row.day != day:
        waiting = row.next_send_us > turn.now_us
        return replace(row, day=day, sends_today=0, sends=row.sends if waiting else 0)
    return row


def _capped(desk: Desk, m: RequestPin, row: SignupRow, day: int) -> bool:
    limits = desk.limits
    prefix_cap = limits.per_prefix_of.get(m.prefix, limits.per_prefix)
    return (
        row.sends_today >= limits.per_number
        or _used(desk, f"client:{m.client}", day) >= limits.per_client
        or _used(desk, f"prefix:{m.prefix}", day) >= prefix_cap
        or _used(desk, "pins", day) >= limits.in_all
    )


def _closed(desk: Desk, number: str) -> bool:
    return bool(_used(desk, f"closed:{number}", NO_DAY))


def _count_request(desk: Desk, m: RequestPin, now_s: int) -> list[Effect]:
    limits, day = desk.limits, _day(now_s)
    mine = _count(desk, f"client:{m.client}", day)
    rows: list[Effect] = [
        mine,
        _count(desk, f"prefix:{m.prefix}", day),
        _count(desk, "pins", day),
    ]
    if mine.used >= limits.client_free:
        next_s = now_s + _step(limits.client_waits_s, mine.used - limits.client_free)
        key = f"client-next:{m.client}"
        desk.counters[key] = Counter(_day(next_s), next_s)
        rows.append(CounterRow(key, _day(next_s), next_s))
    return rows


def _used(desk: Desk, key: str, day: int) -> int:
    counter = desk.counters.get(key)
    return counter.used if counter is not None and counter.day >= day else 0


def _count(desk: Desk, key: str, day: int) -> CounterRow:
    used = _used(desk, key, day) + 1
    desk.counters[key] = Counter(day, used)
    return CounterRow(key, day, used)


def _step(waits: tuple[int, ...], index: int) -> int:
    return waits[min(index, len(waits) - 1)]


def _day(now_s: int) -> int:
    return now_s // DAY_S


def _until_tomorrow(now_s: int) -> int:
    return DAY_S - now_s % DAY_S


def _wake(desk: Desk, turn: Turn) -> None:
    """Make sure that what was just remembered will be forgotten."""
    if desk.alarm_us == NEVER:
        desk.alarm_us = turn.mono_us + SWEEP_US


# ---- what the runtime asks beside the messages ------------------------------------------


def new(key: int) -> Desk:
    """The node puts the configured limits in place before fill()."""
    return Desk(SignupLimits())


def want(key: int, message: ToActor) -> Want:
    return DeskWant()


def fill(desk: Desk, rows: object) -> None:
    assert isinstance(rows, DeskRows)
    for row in rows.signups:
        desk.signups[row.number] = row
    for counter in rows.counters:
        desk.counters[counter.key] = Counter(counter.day, counter.used)
    if desk.signups or desk.counters:
        desk.alarm_us = 0  # due at once: forget what has grown old while nobody was here


def attach(desk: Desk, wanted: Want, answer: object) -> None:
    """The desk is loaded whole and asks for nothing more."""


def poison(desk: Desk, message: ToActor, turn: Turn) -> list[Effect]:
    """This message killed the desk twice and is set aside: whoever waits for it is told."""
    reply = getattr(message, "reply", 0)
    return [Reply(reply, Rejected(INTERNAL))] if reply else []


def busy(key: int, message: ToActor) -> list[Effect]:
    return []


def idle(desk: Desk) -> bool:
    """The desk may leave memory when it remembers nothing; else its alarm would be lost."""
    return not desk.signups and not desk.counters


def migrate(desk: Desk, came: int, goes: int) -> Desk:
    """Bring a state from one version to another, in both directions (docs/upgrade.md).

    Rules that raise STATE_VERSION know how to do that from and to the version before.
    """
    raise ValueError(f"no way from version {came} of the state to version {goes}")


STATE_VERSION = 1

HANDLERS = {
    RequestPin: on_request,
    VerifyPin: on_verify,
    CloseNumber: on_close_number,
    DescribeDesk: on_describe,
    PinNotSent: on_not_sent,
    Alarm: on_alarm,
}
