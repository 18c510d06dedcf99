"""The suite that every store passes: rows and wants, atomicity, order, the fence."""

from msgspec.structs import replace

from tests.storage.holder import Holder
from tests.storage.samples import (
    ALICE,
    BOB,
    CARL,
    account,
    counter,
    dead_letter,
    device,
    inbox,
    pair,
    sent,
    signup,
)
from whimbrel.domain.ports import Outcome
from whimbrel.domain.rows import (
    COPY,
    DELIVERED,
    READ,
    RECEIPT,
    REFUSED,
    REMOVED,
    STORED,
    CountersGone,
    DeviceGone,
    InboxGone,
    InboxUpto,
    PairsGone,
    SentForget,
    SentForgetAll,
    SentMarks,
    SentRow,
    SentState,
    SignupGone,
)
from whimbrel.domain.wants import (
    Accounts,
    DeadLetters,
    DeskWant,
    FlightsWant,
    InboxWant,
    OldestWant,
    OwnersExpired,
    OwnersLedger,
    OwnersOpen,
    PairWant,
    SentWant,
    Totals,
    UserWant,
)

ALL = 1 << 60


def sent_row(holder: Holder, id: int) -> SentRow | None:
    row: SentRow | None = holder.get(SentWant(ALICE, 1, id))
    return row


def inbox_numbers(holder: Holder, owner: int = BOB) -> list[int]:
    return [row[0] for row in holder.get(FlightsWant(owner, 0, ALL, 1_000))]


# ---- users --------------------------------------------------------------------------------


def test_a_user_that_was_never_written_is_empty(holder: Holder) -> None:
    rows = holder.get(UserWant(ALICE, (BOB,)))
    assert rows.account is None
    assert (rows.devices, rows.open) == ([], [])
    assert rows.pairs[BOB].row is None
    assert rows.pairs[BOB].address == ""


def test_a_user_comes_back_as_it_was_written(holder: Holder) -> None:
    holder.put(account(ALICE), device(ALICE, 2), device(ALICE, 1), device(BOB, 1))
    rows = holder.get(UserWant(ALICE))
    assert rows.account == account(ALICE)
    assert rows.devices == [device(ALICE, 1), device(ALICE, 2)]
    assert rows.pairs == {}


def test_an_account_is_changed_but_keeps_its_address_and_birth(holder: Holder) -> None:
    holder.put(account(ALICE))
    changed = account(
        ALICE,
        last_id=12,
        tail=13,
        waiting=14,
        last_device=15,
        last_seen_us=16,
        contacts_hour=17,
        contacts_used=18,
        deleted=True,
    )
    holder.put(replace(changed, created_us=99))
    found = holder.get(UserWant(ALICE)).account
    assert found == changed
    assert found.deleted is True


def test_a_device_is_changed_in_every_field_and_removed(holder: Holder) -> None:
    holder.put(device(ALICE, 1), device(ALICE, 2))
    changed = device(
        ALICE,
        1,
        key_hash=b"n" * 32,
        name="tablet",
        submitted=12,
        last_id=13,
        confirmed=14,
        ordinal=15,
        last_seen_us=16,
    )
    holder.put(changed, DeviceGone(ALICE, 2))
    assert holder.get(UserWant(ALICE)).devices == [changed]


def test_a_pair_comes_back_as_it_was_written_and_changed(holder: Holder) -> None:
    first = pair(ALICE, BOB)
    holder.put(account(BOB), first)
    found = holder.get(PairWant(ALICE, BOB))
    assert found.row == first
    assert found.address == "bob"
    assert (found.row.wrote, found.row.blocked, found.row.owed) == (True, False, False)
    numbers = {
        name: 100 + n
        for n, name in enumerate(first.__struct_fields__[2:])
        if type(getattr(first, name)) is int
    }
    changed = replace(
        first, wrote=False, blocked=True, owed=True, ring=b"r", removed=b"d", **numbers
    )
    holder.put(changed)
    assert holder.get(PairWant(ALICE, BOB)).row == changed


def test_a_pair_with_a_deleted_account_has_no_address(holder: Holder) -> None:
    holder.put(account(BOB, deleted=True), pair(ALICE, BOB))
    found = holder.get(PairWant(ALICE, BOB))
    assert found.address == ""
    assert found.row == pair(ALICE, BOB)


def test_waking_brings_wanted_pairs_those_of_open_rows_and_those_that_owe(holder: Holder) -> None:
    other = 1 << 41
    holder.put(
        account(BOB),
        pair(ALICE, BOB, owed=True),
        pair(BOB, ALICE, owed=True),
        sent(ALICE, 50, CARL),
    )
    rows = holder.get(UserWant(ALICE, (other,)))
    assert set(rows.pairs) == {BOB, CARL, other}
    assert rows.pairs[BOB].row == pair(ALICE, BOB, owed=True)
    assert rows.pairs[BOB].address == "bob"
    holder.put(pair(ALICE, BOB, owed=False))
    assert BOB not in holder.get(UserWant(ALICE)).pairs


def test_all_pairs_of_an_owner_go_together(holder: Holder) -> None:
    holder.put(pair(ALICE, BOB, owed=True), pair(ALICE, CARL), pair(BOB, ALICE))
    holder.put(PairsGone(ALICE))
    assert holder.get(PairWant(ALICE, BOB)).row is None
    assert holder.get(PairWant(ALICE, CARL)).row is None
    assert holder.get(PairWant(BOB, ALICE)).row == pair(BOB, ALICE)
    assert holder.get(OwnersOpen(0, 10)) == []


# ---- the sent log -------------------------------------------------------------------------


def test_open_rows_come_back_with_bodies_by_rising_id(holder: Holder) -> None:
    holder.put(sent(ALICE, 20, BOB), sent(ALICE, 10, CARL), sent(BOB, 15, ALICE))
    holder.put(sent(ALICE, 30, BOB, state=STORED, body=None, stored_us=5))
    rows = holder.get(UserWant(ALICE))
    assert rows.open == [sent(ALICE, 10, CARL), sent(ALICE, 20, BOB)]


def test_a_sent_row_that_was_stored_loses_its_body(holder: Holder) -> None:
    row = sent(ALICE, 10, BOB)
    holder.put(row)
    holder.put(SentState(ALICE, 10, STORED, "", 500))
    assert sent_row(holder, 10) == replace(row, state=STORED, stored_us=500, body=None)
    assert holder.get(UserWant(ALICE)).open == []


def test_an_open_row_may_go_straight_to_delivered(holder: Holder) -> None:
    row = sent(ALICE, 10, BOB)
    holder.put(row)
    holder.put(SentState(ALICE, 10, DELIVERED, "", 500))
    expected = replace(
        row, state=DELIVERED, stored_us=500, delivered_us=500, final_us=500, body=None
    )
    assert sent_row(holder, 10) == expected


def test_a_stored_row_keeps_the_time_at_which_it_was_stored(holder: Holder) -> None:
    holder.put(sent(ALICE, 10, BOB))
    holder.put(SentState(ALICE, 10, STORED, "", 500))
    holder.put(SentState(ALICE, 10, DELIVERED, "", 600))
    row = sent_row(holder, 10)
    assert row is not None
    assert (row.stored_us, row.delivered_us, row.final_us) == (500, 600, 600)


def test_refusals_and_removals_are_final_with_their_code(holder: Holder) -> None:
    holder.put(sent(ALICE, 10, BOB), sent(ALICE, 11, BOB))
    holder.put(
        SentState(ALICE, 10, REFUSED, "blocked", 500), SentState(ALICE, 11, REMOVED, "expired", 501)
    )
    holder.put(SentState(ALICE, 10, STORED, "", 600), SentState(ALICE, 11, DELIVERED, "", 600))
    refused, removed = sent_row(holder, 10), sent_row(holder, 11)
    assert refused == replace(
        sent(ALICE, 10, BOB), state=REFUSED, code="blocked", final_us=500, body=None
    )
    assert removed == replace(
        sent(ALICE, 11, BOB), state=REMOVED, code="expired", final_us=501, body=None
    )


def test_a_change_in_the_same_batch_is_folded_into_the_insert(holder: Holder) -> None:
    holder.put(sent(ALICE, 10, BOB), SentState(ALICE, 10, STORED, "", 500))
    row = sent_row(holder, 10)
    assert row == replace(sent(ALICE, 10, BOB), state=STORED, stored_us=500, body=None)


def test_marks_change_the_range_of_one_peer_only(holder: Holder) -> None:
    stored = {"state": STORED, "body": None, "stored_us": 5}
    rows = [sent(ALICE, id, BOB, **stored) for id in (10, 11, 12, 13)]
    others = [sent(ALICE, 14, CARL, **stored), sent(BOB, 12, CARL, **stored)]
    holder.put(*rows, *others, sent(ALICE, 15, BOB))
    holder.put(SentMarks(ALICE, BOB, 10, 12, DELIVERED, "", 700))
    states = [holder.get(SentWant(ALICE, 1, id)).state for id in (10, 11, 12, 13, 14, 15)]
    assert states == [STORED, DELIVERED, DELIVERED, STORED, STORED, 0]
    assert holder.get(SentWant(BOB, 1, 12)).state == STORED
    row = sent_row(holder, 11)
    assert row == replace(rows[1], state=DELIVERED, delivered_us=700, final_us=700)


def test_read_marks_fill_in_what_was_missing(holder: Holder) -> None:
    row = sent(ALICE, 10, BOB, state=STORED, body=None, stored_us=5)
    holder.put(row, replace(row, id=11, c=11))
    holder.put(SentMarks(ALICE, BOB, 10, 11, DELIVERED, "", 700))
    holder.put(SentMarks(ALICE, BOB, 0, 11, READ, "", 800))
    assert sent_row(holder, 10) == replace(
        row, state=READ, delivered_us=800, read_us=800, final_us=800
    )
    assert sent_row(holder, 11) == replace(
        row, id=11, c=11, state=READ, delivered_us=700, read_us=800, final_us=700
    )


def test_marks_never_change_a_final_or_an_open_row(holder: Holder) -> None:
    final = sent(ALICE, 10, BOB, state=REFUSED, code="blocked", body=None, final_us=5)
    opened = sent(ALICE, 11, BOB)
    read = sent(ALICE, 12, BOB, state=READ, body=None, read_us=6, final_us=6)
    holder.put(final, opened, read)
    for state in (DELIVERED, READ, REMOVED):
        holder.put(SentMarks(ALICE, BOB, 0, 20, state, "trimmed", 800))
    assert [sent_row(holder, id) for id in (10, 11, 12)] == [final, opened, read]


def test_removal_marks_give_a_code_to_stored_rows_only(holder: Holder) -> None:
    stored = sent(ALICE, 10, BOB, state=STORED, body=None, stored_us=5)
    delivered = sent(ALICE, 11, BOB, state=DELIVERED, body=None, delivered_us=6, final_us=6)
    holder.put(stored, delivered)
    holder.put(SentMarks(ALICE, BOB, 0, 20, REMOVED, "trimmed", 800))
    assert sent_row(holder, 10) == replace(stored, state=REMOVED, code="trimmed", final_us=800)
    assert sent_row(holder, 11) == delivered


def test_the_ledger_forgets_final_rows_older_than_a_time(holder: Holder) -> None:
    def final(id: int, at: int) -> SentRow:
        return sent(ALICE, id, BOB, state=DELIVERED, body=None, final_us=at)

    holder.put(final(10, 100), final(11, 200), sent(ALICE, 12, BOB), final(13, 50))
    holder.put(replace(final(14, 100), owner=BOB))
    holder.put(SentForget(ALICE, 200))
    assert [sent_row(holder, id) is not None for id in (10, 11, 12, 13)] == [
        False,
        True,
        True,
        False,
    ]
    assert holder.get(SentWant(BOB, 1, 14)) is not None


def test_all_sent_rows_of_an_owner_go_together(holder: Holder) -> None:
    holder.put(sent(ALICE, 10, BOB), sent(ALICE, 11, BOB, state=STORED), sent(BOB, 12, ALICE))
    holder.put(SentForgetAll(ALICE))
    assert holder.get(UserWant(ALICE)).open == []
    assert sent_row(holder, 11) is None
    assert len(holder.get(UserWant(BOB)).open) == 1


def test_a_submit_number_finds_its_newest_row(holder: Holder) -> None:
    holder.put(
        sent(ALICE, 10, BOB, c=7), sent(ALICE, 20, BOB, c=7), sent(ALICE, 30, BOB, c=7, device=2)
    )
    assert holder.get(SentWant(ALICE, 1, 7)).id == 20
    assert holder.get(SentWant(ALICE, 2, 7)).id == 30
    assert holder.get(SentWant(ALICE, 1, 8)) is None


# ---- the inbox ----------------------------------------------------------------------------


def test_the_inbox_is_read_in_order_within_its_bounds_with_addresses(holder: Holder) -> None:
    holder.put(account(ALICE))
    holder.put(*(inbox(BOB, q) for q in range(1, 11)), inbox(CARL, 5))
    rows, upto = holder.get(InboxWant(BOB, 2, 6, 100, 10_000))
    assert rows == tuple((inbox(BOB, q), "alice") for q in (3, 4, 5, 6))
    assert upto == 6


def test_an_inbox_answer_says_how_far_it_reaches(holder: Holder) -> None:
    holder.put(*(inbox(BOB, q, body=b"x" * 100) for q in range(1, 11)))

    def page(after: int, upto: int, limit: int, size: int) -> tuple[list[int], int]:
        rows, reached = holder.get(InboxWant(BOB, after, upto, limit, size))
        return [row.q for row, _ in rows], reached

    assert page(0, 50, 3, 10_000) == ([1, 2, 3], 3)  # by rows
    assert page(0, 50, 100, 250) == ([1, 2], 2)  # by bytes
    assert page(4, 50, 100, 1) == ([5], 5)  # one row always
    assert page(8, 50, 100, 10_000) == ([9, 10], 50)  # the end: nothing is left out
    assert page(10, 50, 100, 10_000) == ([], 50)


def test_the_address_of_a_deleted_account_still_stands_beside_its_messages(holder: Holder) -> None:
    holder.put(account(ALICE, deleted=True), inbox(BOB, 1), inbox(BOB, 2, peer=CARL))
    rows, _ = holder.get(InboxWant(BOB, 0, 9, 9, 999))
    assert [address for _, address in rows] == ["alice", ""]


def test_inbox_rows_of_every_kind_come_back_as_they_were(holder: Holder) -> None:
    rows = [
        inbox(BOB, 1, kind=COPY, body=b""),
        inbox(BOB, 2, kind=RECEIPT, body=None, extra=77),
        inbox(BOB, 3, kind=3, code="expired", body=None),
    ]
    holder.put(*rows)
    found, _ = holder.get(InboxWant(BOB, 0, 9, 9, 999))
    assert [row for row, _ in found] == rows


def test_one_row_or_a_range_leaves_the_inbox(holder: Holder) -> None:
    holder.put(*(inbox(BOB, q) for q in range(1, 8)), *(inbox(CARL, q) for q in (1, 2)))
    holder.put(InboxGone(BOB, 6))
    assert inbox_numbers(holder) == [1, 2, 3, 4, 5, 7]
    holder.put(InboxUpto(BOB, 4), InboxUpto(BOB, 2))
    assert inbox_numbers(holder) == [5, 7]
    assert inbox_numbers(holder, CARL) == [1, 2]


def test_a_row_that_comes_and_goes_in_one_batch_was_never_there(holder: Holder) -> None:
    holder.put(inbox(BOB, 1), InboxGone(BOB, 1), inbox(BOB, 2), inbox(BOB, 3), InboxUpto(BOB, 2))
    assert inbox_numbers(holder) == [3]


def test_flights_and_oldest_rows_are_short_and_rising(holder: Holder) -> None:
    holder.put(*(inbox(BOB, q) for q in range(1, 6)))
    assert holder.get(FlightsWant(BOB, 1, 4, 2)) == [(2, 0, ALICE, 1002), (3, 0, ALICE, 1003)]
    assert holder.get(FlightsWant(BOB, 3, 4, 9)) == [(4, 0, ALICE, 1004)]
    assert holder.get(OldestWant(BOB, 3, 1)) == [(4, 0, ALICE, 1004, 104)]
    assert holder.get(OldestWant(BOB, 5, 9)) == []


# ---- the desk, dead letters, scans ----------------------------------------------------------


def test_the_desk_remembers_sign_ups_and_counters(holder: Holder) -> None:
    holder.put(signup("+491"), signup("+492"), counter("a", 5), counter("b", 6))
    holder.put(signup("+491", pin_hash=b"", tries=4), SignupGone("+492"), counter("b", 6, 9))
    holder.put(CountersGone(6))
    rows = holder.get(DeskWant())
    assert rows.signups == [signup("+491", pin_hash=b"", tries=4)]
    assert rows.counters == [counter("b", 6, 9)]


def test_only_the_newest_dead_letters_are_kept(holder: Holder) -> None:
    for at in range(8):
        holder.put(dead_letter(at))
    assert [row.at_us for row in holder.get(DeadLetters(10))] == [7, 6, 5, 4, 3]
    assert holder.get(DeadLetters(1)) == [dead_letter(7)]


def test_owners_with_open_work_are_listed_once_and_rising(holder: Holder) -> None:
    holder.put(sent(BOB, 10, ALICE), sent(BOB, 11, ALICE), sent(CARL, 12, BOB, state=STORED))
    holder.put(pair(ALICE, BOB, owed=True), pair(ALICE, CARL, owed=True), pair(BOB, CARL))
    assert holder.get(OwnersOpen(0, 10)) == [ALICE, BOB]
    assert holder.get(OwnersOpen(ALICE, 10)) == [BOB]
    assert holder.get(OwnersOpen(0, 1)) == [ALICE]
    holder.put(SentState(BOB, 10, STORED, "", 1), SentState(BOB, 11, STORED, "", 1))
    holder.put(pair(ALICE, BOB), pair(ALICE, CARL))
    assert holder.get(OwnersOpen(0, 10)) == []


def test_owners_of_expired_messages_come_oldest_first(holder: Holder) -> None:
    holder.put(inbox(CARL, 1, stored_us=10), inbox(ALICE, 1, stored_us=20, kind=RECEIPT))
    holder.put(inbox(BOB, 1, stored_us=30), inbox(CARL, 2, stored_us=40))
    holder.put(inbox(ALICE, 2, stored_us=50))
    assert holder.get(OwnersExpired(50, 10)) == [CARL, BOB]
    assert holder.get(OwnersExpired(51, 10)) == [CARL, BOB, ALICE]
    assert holder.get(OwnersExpired(51, 1)) == [CARL]
    assert holder.get(OwnersExpired(10, 10)) == []


def test_owners_of_old_ledger_lines_come_oldest_first(holder: Holder) -> None:
    def final(owner: int, id: int, at: int) -> SentRow:
        return sent(owner, id, CARL, state=DELIVERED, body=None, accepted_us=at - 5, final_us=at)

    holder.put(final(BOB, 1, 100))
    holder.put(sent(CARL, 2, BOB, accepted_us=97), final(ALICE, 3, 110), final(BOB, 4, 120))
    assert holder.get(OwnersLedger(110, 10)) == [BOB]
    assert holder.get(OwnersLedger(111, 10)) == [BOB, ALICE]
    assert holder.get(OwnersLedger(111, 1)) == [BOB]


def test_accounts_are_listed_by_address_without_tombstones(holder: Holder) -> None:
    holder.put(account(CARL), account(ALICE), account(BOB, deleted=True))
    assert holder.get(Accounts("", 10)) == [account(ALICE), account(CARL)]
    assert holder.get(Accounts("alice", 10)) == [account(CARL)]
    assert holder.get(Accounts("", 1)) == [account(ALICE)]
    assert holder.get(Accounts("", 10, "al")) == [account(ALICE)]
    assert holder.get(Accounts("alice", 10, "al")) == []
    assert holder.get(Accounts("", 10, "carl")) == [account(CARL)]
    assert holder.get(Accounts("", 10, "%")) == []


def test_totals_count_what_there_is(holder: Holder) -> None:
    holder.put(account(ALICE), account(BOB), device(ALICE), sent(ALICE, 1, BOB), inbox(BOB, 1))
    holder.put(sent(ALICE, 2, BOB, state=STORED), inbox(BOB, 2), inbox(BOB, 3), dead_letter(1))
    totals = holder.get(Totals())
    assert totals.pop("data_bytes") >= 0
    assert totals == {"accounts": 2, "devices": 1, "inbox": 3, "open": 1, "dead_letters": 1}


def test_wants_are_answered_in_their_order(holder: Holder) -> None:
    holder.put(account(ALICE), account(BOB))
    found = holder.load(UserWant(BOB), Totals(), UserWant(ALICE))
    assert found[0].account.id == BOB
    assert found[1]["accounts"] == 2
    assert found[2].account.id == ALICE


def test_an_inline_store_answers_before_load_returns(holder: Holder) -> None:
    answers: list[object] = []
    holder.store.load([Totals()], answers.append)
    assert bool(answers) is holder.store.inline


# ---- commits --------------------------------------------------------------------------------


def test_everything_is_there_after_reopening(holder: Holder) -> None:
    holder.put(account(ALICE), device(ALICE), sent(ALICE, 1, BOB), inbox(ALICE, 1))
    again = holder.reopen()
    rows = again.get(UserWant(ALICE))
    assert rows.account == account(ALICE)
    assert rows.open == [sent(ALICE, 1, BOB)]
    assert inbox_numbers(again, ALICE) == [1]
    assert again.store.era == holder.store.era
    again.close()


def test_a_batch_that_fails_writes_nothing_at_all(holder: Holder) -> None:
    holder.put(inbox(BOB, 1), account(BOB, tail=1))
    outcome, reason = holder.commit(account(BOB, tail=2), inbox(BOB, 2), inbox(BOB, 1))
    assert outcome is Outcome.FAILED
    assert "contradicts" in reason
    assert holder.recover() == (True, "")
    assert inbox_numbers(holder) == [1]
    assert holder.get(UserWant(BOB)).account.tail == 1


def test_after_a_failure_every_commit_fails_until_recovery(holder: Holder) -> None:
    holder.put(inbox(BOB, 1))
    assert holder.commit(inbox(BOB, 1))[0] is Outcome.FAILED
    assert holder.commit(inbox(BOB, 2))[0] is Outcome.FAILED
    assert holder.commit()[0] is Outcome.FAILED
    assert holder.recover() == (True, "")
    holder.put(inbox(BOB, 2))
    assert inbox_numbers(holder) == [1, 2]


def test_commits_behind_a_failed_one_fail_too_and_in_order(holder: Holder) -> None:
    holder.put(inbox(BOB, 1))
    results: list[tuple[int, Outcome]] = []
    for n, row in enumerate((inbox(BOB, 2), inbox(BOB, 1), inbox(BOB, 3))):

        def done(outcome: Outcome, reason: str, n: int = n) -> None:
            results.append((n, outcome))

        holder.store.commit(holder.batch(row), done)
    holder.loop.run_until(lambda: len(results) == 3)
    assert results == [(0, Outcome.COMMITTED), (1, Outcome.FAILED), (2, Outcome.FAILED)]
    holder.recover()
    assert inbox_numbers(holder) == [1, 2]


def test_commits_are_answered_in_order_and_never_before_commit_returns(holder: Holder) -> None:
    order: list[int] = []
    for n in range(20):
        rows = (inbox(BOB, n + 1),) if n % 3 else ()  # a turn without rows queues like any other
        holder.store.commit(holder.batch(*rows), lambda outcome, reason, n=n: order.append(n))
        assert n not in order
    holder.loop.run_until(lambda: len(order) == 20)
    assert order == list(range(20))


def test_a_commit_asked_for_inside_an_answer_is_carried_out(holder: Holder) -> None:
    order: list[str] = []

    def first(outcome: Outcome, reason: str) -> None:
        order.append("first")
        holder.store.commit(
            holder.batch(inbox(BOB, 2)), lambda outcome, reason: order.append("second")
        )

    holder.store.commit(holder.batch(inbox(BOB, 1)), first)
    holder.loop.run_until(lambda: len(order) == 2)
    assert inbox_numbers(holder) == [1, 2]


def test_who_lost_the_database_writes_nothing_and_is_told_so(holder: Holder) -> None:
    holder.put(inbox(BOB, 1))
    holder.usurp()
    assert holder.commit(inbox(BOB, 2))[0] is Outcome.FENCED
    assert inbox_numbers(holder) == [1]


def test_a_batch_without_rows_meets_the_fence_as_well(holder: Holder) -> None:
    assert holder.commit() == (Outcome.COMMITTED, "")
    holder.usurp()
    assert holder.commit()[0] is Outcome.FENCED


def test_recovery_takes_the_database_over_again(holder: Holder) -> None:
    holder.usurp()
    assert holder.commit(inbox(BOB, 1))[0] is Outcome.FENCED
    assert holder.recover() == (True, "")
    holder.put(inbox(BOB, 2))
    assert inbox_numbers(holder) == [2]


def test_a_closed_store_refuses(holder: Holder) -> None:
    holder.close()
    assert holder.commit(inbox(BOB, 1)) == (Outcome.FAILED, "the store is closed")
    assert isinstance(holder.load(Totals()), Exception)
    assert holder.recover() == (False, "the store is closed")
