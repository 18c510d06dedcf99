"""The planted bugs: for each law, what it is like when somebody breaks it.

Most are rows of the table at the end of DELIVERY.md; the rest were added law by law. A bug that
no scene notices means that a check is missing. docs/laws.md shows the list with what was seen.
This file is a table and longer than most: one entry a bug, in the order of the laws.
"""

from sim.planting import Edit, Mutant
from whimbrel.domain.batch import after_state
from whimbrel.domain.ids import next_id
from whimbrel.edge.session import Session
from whimbrel.logic import (
    deliver,
    devices,
    pairs,
    receipts,
    removal,
    resources,
    stream,
    submit,
    trimming,
    user,
)
from whimbrel.node.interpreter import Interpreter
from whimbrel.runtime import engine
from whimbrel.runtime.engine import Engine
from whimbrel.storage import memory_rows, memory_wants
from whimbrel.storage.memory import MemoryStore

RANDOM = "random_worlds"
CLIENTS = "worlds_of_xmpp_clients"
CHANCE = (RANDOM, CLIENTS)  # one world a seed

DURABLE = (
    Mutant(
        "released-before-the-commit",
        1,
        "answers and pushes leave when the commit begins, not when it has returned",
        RANDOM,
        (
            Edit(
                Engine._flush,
                "self.store.commit(",
                "self.host.release(self._flying_releases)\n"
                "    self._flying_releases = []\n"
                "    self.store.commit(",
            ),
        ),
    ),
    Mutant(
        "released-while-the-disk-hangs",
        1,
        "the same, looked at while a commit takes its time",
        "nothing_leaves_while_the_disk_hangs",
        (
            Edit(
                Engine._flush,
                "self.store.commit(",
                "self.host.release(self._flying_releases)\n"
                "    self._flying_releases = []\n"
                "    self.store.commit(",
            ),
        ),
    ),
    Mutant(
        "unknown-outcome-taken-as-success",
        1,
        "a commit of which nobody knows the outcome counts as committed",
        RANDOM,
        (
            Edit(
                Engine._done,
                "outcome is not Outcome.COMMITTED",
                "outcome in (Outcome.FAILED, Outcome.FENCED)",
            ),
        ),
    ),
    Mutant(
        "answers-of-a-failed-batch-leave-later",
        1,
        "a failed commit leaves its answers to the next one",
        RANDOM,
        (Edit(Engine._fail, "self._releases = []", "self._releases = releases"),),
    ),
    Mutant(
        "actors-survive-a-failed-commit",
        1,
        "the state in memory is kept although its rows were not written",
        RANDOM,
        (Edit(Engine._fail, "self.cells.clear()", "pass"),),
        seen_by=2,
    ),
    Mutant(
        "queue-survives-a-failed-commit",
        1,
        "messages queued behind a failed batch go on, to actors that were dropped",
        RANDOM,
        (Edit(Engine._fail, "self._queue.clear()", "pass"),),
        seen_by=3,
    ),
    Mutant(
        "what-waited-survives-a-failed-commit",
        1,
        "messages that waited for a read go on after a failed commit",
        "nothing_goes_on_behind_a_failed_commit",
        (Edit(Engine._fail, "self._resumed.clear()", "pass"),),
    ),
    Mutant(
        "tells-survive-a-failed-commit",
        1,
        "tells that a turn had no room for go on after its commit failed",
        "what_was_told_in_a_failed_turn_is_not_heard",
        (Edit(Engine._fail, "self._local.clear()", "pass"),),
    ),
    Mutant(
        "batch-behind-a-failed-one-goes-on",
        1,
        "rows gathered behind a failed commit are written by the next one",
        RANDOM,
        (Edit(Engine._fail, "self._open = self.host.new_batch(last + 1)", "pass"),),
        seen_by=2,
    ),
    Mutant(
        "duplicate-answered-at-once",
        1,
        "a repeated submit is answered from memory, before the batch that it repeats",
        "nothing_leaves_while_the_disk_hangs",
        (
            Edit(
                submit.on_submit,
                "return _repeat_answer(user, m)",
                "return [Push(m.session, Stored(c, device.last_id))]",
            ),
            Edit(
                Engine._run,
                "cell.batch = batch.number",
                "cell.batch = batch.number\n        else:\n            self.host.release(effects)",
            ),
        ),
    ),
    Mutant(
        "acknowledged-before-the-inbox-row",
        1,
        "the recipient's row is written one commit after the acknowledgement",
        RANDOM,
        (
            Edit(
                Engine._flush,
                "self._releases = []",
                "self._releases = []\n"
                "    late, self.late = getattr(self, 'late', {}), self._flying.inbox\n"
                "    self._flying.inbox = late\n"
                "    self._open.rows += len(self.late)",
            ),
        ),
    ),
    Mutant(
        "slept-with-uncommitted-rows",
        1,
        "an actor leaves memory while its rows are still being written",
        "an_actor_with_uncommitted_rows_stays_awake",
        (Edit(Engine.sweep, "and cell.batch <= self.committed", "and True"),),
    ),
    Mutant(
        "read-before-its-own-commit",
        1,
        "a rule's missing fact is read while the actor's rows are still being written",
        RANDOM,
        (Edit(Engine._need, "if cell.batch > self.committed and", "if False and"),),
        seen_by=2,
    ),
    Mutant(
        "forgotten-pair-read-before-its-own-commit",
        1,
        "a pair that left memory is read while its row is still being written",
        "a_block_holds_while_its_row_is_being_written",
        (Edit(pairs._want, "PairWant if user.forgot else SettledPairWant", "SettledPairWant"),),
    ),
    Mutant(
        "inbox-read-before-its-own-commit",
        1,
        "the inbox is read while rows of it are still being written",
        RANDOM,
        (Edit(Engine.read, "if batch > self.committed:", "if False:"),),
        seen_by=2,
    ),
    Mutant(
        "second-mark-when-stored",
        1,
        "two check marks as soon as the recipient's inbox has the message",
        RANDOM,
        (
            Edit(
                deliver.on_deliver,
                "pair.stored_id = m.id\n",
                "pair.stored_id = m.id\n"
                "    pair.delivered_id = m.id\n"
                "    from whimbrel.logic.receipts import send_receipt\n"
                "    send_receipt(user, pair, turn, effects)\n",
            ),
        ),
    ),
    Mutant(
        "receipt-not-clipped",
        1,
        "the mark shown covers a row that is still open",
        "a_receipt_overtakes_an_acknowledgement",
        (Edit(receipts.show_receipt, "if pair.open:", "if False:"),),
    ),
    Mutant(
        "receipt-marks-every-row",
        1,
        "a receipt marks also rows that the recipient has not acknowledged",
        "a_receipt_overtakes_an_acknowledgement",
        (
            Edit(
                memory_rows._delivered,
                "if row.state != STORED:",
                "if row.state not in (OPEN, STORED):",
            ),
        ),
    ),
    Mutant(
        "mark-goes-back",
        1,
        "an older receipt that comes late takes a mark back",
        RANDOM,
        (Edit(receipts.on_receipt, "if m.delivered_id > old:", "if True:"),),
    ),
    Mutant(
        "read-before-delivered",
        1,
        "blue marks for messages that no device has confirmed",
        "test_reading_counts_only_what_was_delivered",
        (Edit(receipts._read, "min(id, pair.delivered_id)", "id"),),
    ),
)

ONCE = (
    Mutant(
        "no-dedupe-of-submits",
        2,
        "a repeated submit is a new message",
        RANDOM,
        (
            Edit(submit.on_submit, "if c <= device.submitted:", "if False:"),
            Edit(
                submit._accept,
                "device.submitted = m.c",
                "device.submitted = max(device.submitted, m.c)",
            ),
        ),
    ),
    Mutant(
        "no-dedupe-of-delivers",
        2,
        "the recipient's actor takes every retry as a new message",
        RANDOM,
        (Edit(deliver.on_deliver, "if m.id <= pair.stored_id:", "if False:"),),
    ),
    Mutant(
        "dedupe-forgotten-after-the-wipe",
        2,
        "what was confirmed and wiped is not known any more when a retry comes",
        "a_retry_after_the_wipe_is_answered_but_not_shown",
        (
            Edit(
                deliver.on_deliver,
                "if m.id <= pair.stored_id:",
                "if pair.delivered_id < m.id <= pair.stored_id:",
            ),
        ),
    ),
    Mutant(
        "retry-not-answered",
        2,
        "a retry of a stored message is ignored instead of acknowledged again",
        "a_retry_after_the_wipe_is_answered_but_not_shown",
        (
            Edit(
                deliver.on_deliver,
                'return [Tell(m.sender, Ack(user.number, m.id, pair.ring.get(m.id, "")))]',
                "return []",
            ),
        ),
    ),
    Mutant(
        "retry-given-up",
        2,
        "the sender's actor stops after three tries",
        "lost_delivers_are_retried_until_acknowledged",
        (Edit(submit.retry, "_deliver(", "entry.attempts > 3 or _deliver("),),
    ),
    Mutant(
        "timer-lost-at-a-restart",
        2,
        "open rows that were loaded are not due",
        "a_restart_goes_on_where_it_was",
        (
            Edit(
                user.fill,
                "user.owing.add(sent.peer)\n        wake_by(user, 0)",
                "user.owing.add(sent.peer)",
            ),
        ),
    ),
    Mutant(
        "open-work-not-woken",
        2,
        "the scan for open work finds nobody",
        "open_work_is_found_although_nobody_asks_for_it",
        (Edit(memory_wants._owners_open, "return sorted(", "return [] and sorted("),),
    ),
    Mutant(
        "busy-taken-as-delivered",
        2,
        "the answer `busy` closes the open row",
        RANDOM,
        (
            Edit(
                submit.on_busy,
                "wake_by(user, entry.retry_us)",
                "effects: list[Effect] = []\n"
                '        _close(user, pair, entry, STORED, "", turn, effects)\n'
                "        return effects",
            ),
        ),
        seen_by=1,
    ),
    Mutant(
        "full-inbox-acknowledged",
        2,
        "a full inbox says `stored` instead of `busy`",
        "test_items_that_a_live_session_holds_are_never_trimmed",
        (
            Edit(
                deliver.on_deliver,
                "BusyAck(user.number, m.id)",
                'Ack(user.number, m.id, "")',
            ),
        ),
    ),
    Mutant(
        "receipt-not-retried",
        2,
        "a receipt is said once",
        "a_lost_receipt_is_told_again",
        (Edit(receipts.retry_receipt, "send_receipt(user, pair, turn, effects)", "pass"),),
    ),
    Mutant(
        "receipt-forgotten-at-a-restart",
        2,
        "owed receipts are not taken up when the actor is loaded",
        "a_receipt_owed_at_a_restart_is_told",
        (Edit(user.fill, "if pair.owed:", "if False:"),),
    ),
    Mutant(
        "refusal-not-remembered",
        2,
        "a refused message does not raise the watermark",
        "a_refusal_is_final_also_when_it_is_asked_again",
        (Edit(deliver._refuse, "pair.stored_id = m.id\n", "pass\n"),),
    ),
    Mutant(
        "reason-of-a-refusal-forgotten",
        2,
        "the second answer to a refused message is `stored`",
        "a_refusal_is_final_also_when_it_is_asked_again",
        (Edit(deliver._refuse, "pair.ring[m.id] = code\n", "pass\n"),),
    ),
    Mutant(
        "refusal-does-not-use-its-number",
        2,
        "a submit that is refused for good leaves its number free",
        "test_an_unknown_recipient_is_refused_and_uses_the_number_up",
        (Edit(submit._refuse, "device.submitted = m.c\n", "pass\n"),),
    ),
    Mutant(
        "clone-not-noticed",
        2,
        "another message under a used number gets the answer of the first",
        "test_the_same_number_for_another_message_is_refused",
        (Edit(submit._repeat_answer, "if row.hash != m.hash:", "if False:"),),
    ),
    Mutant(
        "inbox-numbers-taken-from-the-rows",
        2,
        "the next inbox number is one above the highest row that is left",
        RANDOM,
        (
            Edit(
                user.fill,
                "user.tail = account.tail\n",
                "user.tail = account.tail if account.waiting else 0\n",
            ),
        ),
    ),
    Mutant(
        "new-device-starts-at-the-tail",
        2,
        "a new registration does not get what waits",
        "test_a_new_device_gets_everything_that_waits",
        (Edit(devices.on_register, "start = floor_of(user)", "start = user.tail"),),
    ),
    Mutant(
        "linked-device-starts-at-the-tail",
        2,
        "a linked device does not get what waits",
        "a_linked_device_gets_what_waits",
        (
            Edit(
                devices.on_link, "device.confirmed = floor_of(user)", "device.confirmed = user.tail"
            ),
        ),
    ),
    Mutant(
        "rewind-ignored",
        2,
        "an actor does not send again what a session missed",
        "a_rewind_sends_again",
        (Edit(stream.on_rewind, "rewind(device, att, max(m.last, device.confirmed))", "pass"),),
    ),
    Mutant(
        "unconfirmed-items-sent-once",
        2,
        "what a device does not confirm is not sent again",
        "items_nobody_confirms_are_sent_again",
        (Edit(stream.rewind_stale, "rewind(device, att, device.confirmed)", "pass"),),
    ),
    Mutant(
        "copies-for-those-online-only",
        2,
        "a copy for the own devices is pushed, but not stored",
        "a_device_that_was_away_gets_the_copies",
        (
            Edit(
                submit._copy, "effects.append(\n        InboxRow(", "[].append(\n        InboxRow("
            ),
        ),
    ),
    Mutant(
        "memory-ahead-of-the-rows",
        2,
        "a pair changes in memory, and its row is not written",
        RANDOM,
        (Edit(receipts.show_receipt, "effects.append(pair_row(user, pair))", "pass"),),
    ),
    Mutant(
        "restore-without-era",
        2,
        "after a restore the device's old number is believed",
        "a_restored_server_streams_what_it_has",
        (Edit(devices.on_hello, "m.era == turn.era and ", ""),),
    ),
    Mutant(
        "receipt-before-acknowledgement-lost",
        2,
        "an acknowledgement that comes after its receipt leaves the row at one mark",
        "a_receipt_overtakes_an_acknowledgement",
        (Edit(submit.on_ack, "elif m.id <= pair.peer_delivered_id:", "elif False:"),),
        seen_by=4,
    ),
    Mutant(
        "session-never-repeats",
        2,
        "a session says a submit to its actor once",
        "a_session_repeats_unanswered_submits",
        (Edit(Session.sweep, "if self._open and now_s >= self._resend_s:", "if False:"),),
    ),
    Mutant(
        "session-never-attaches-again",
        2,
        "a session does not say regularly where it stands",
        "a_session_attaches_regularly",
        (Edit(Session.sweep, "if now_s >= self._attach_s:", "if False:"),),
    ),
    Mutant(
        "session-forwards-twice",
        2,
        "a session forwards also what it has forwarded before",
        "a_session_forwards_an_item_once",
        (Edit(Session._forward, "if item.prev <= last < item.q:", "if item.prev <= last:"),),
    ),
    Mutant(
        "confirm-does-not-move-the-session",
        2,
        "a session's last item is not raised by confirms",
        "a_confirm_from_before_the_connection_moves_the_session_on",
        (Edit(Session.on_confirm, "if q > self._last:", "if False:"),),
    ),
)

ORDER = (
    Mutant(
        "no-prev",
        3,
        "a message is stored although an older one of its sender is missing",
        "a_lost_deliver_is_not_overtaken",
        (Edit(deliver.on_deliver, "if m.prev > pair.stored_id:", "if False:"),),
    ),
    Mutant(
        "no-prev-in-random-worlds",
        3,
        "the same; under a watermark, what was overtaken is taken for a duplicate and lost",
        RANDOM,
        (Edit(deliver.on_deliver, "if m.prev > pair.stored_id:", "if False:"),),
        seen_by=1,
    ),
    Mutant(
        "live-push-beside-the-catch-up",
        3,
        "a new item is pushed to a device that is still being fed from the store",
        RANDOM,
        (Edit(pairs.push_item, "if att.cursor == before and not att.reading:", "if True:"),),
        seen_by=1,
    ),
    Mutant(
        "inbox-ordered-by-message-id",
        3,
        "the inbox is read in the order of message ids",
        RANDOM,
        (
            Edit(
                memory_wants._inbox,
                "for row in rows)",
                "for row in sorted(rows, key=lambda row: row.id))",
            ),
        ),
        seen_by=2,
    ),
    Mutant(
        "submit-numbers-may-jump",
        3,
        "a submit is taken although an earlier one is missing",
        "test_submit_numbers_may_not_jump",
        (Edit(submit.on_submit, "if c > device.submitted + 1:", "if False:"),),
    ),
    Mutant(
        "parked-messages-go-last",
        3,
        "what waited for its actor to be loaded is queued behind what came later",
        "what_waits_for_a_load_keeps_its_place",
        (
            Edit(
                Engine._resume,
                "self._resumed.extendleft((cell, message) for message in reversed(parked))",
                "self._queue.extend((cell, message) for message in parked)",
            ),
        ),
    ),
    Mutant(
        "ids-follow-the-clock",
        3,
        "an id is the time, also when the clock stands or goes back",
        RANDOM,
        (Edit(next_id, "return now_us if now_us > last else last + 1", "return now_us"),),
    ),
    Mutant(
        "last-id-forgotten",
        3,
        "a loaded actor does not know the last id that was given",
        "a_slower_clock_takes_over",
        (Edit(user.fill, "user.last_id = max(user.last_id, device.last_id)", "pass"),),
    ),
    Mutant(
        "session-forwards-over-a-gap",
        3,
        "a session forwards an item although the one before it is missing",
        "a_session_asks_for_what_it_missed",
        (Edit(Session._forward, "if item.prev <= last < item.q:", "if last < item.q:"),),
    ),
)

WIPED = (
    Mutant(
        "never-wiped",
        4,
        "a confirm removes no rows",
        RANDOM,
        (Edit(stream._confirm, "if wiped > floor:", "if False:"),),
    ),
    Mutant(
        "wiped-after-the-first-device",
        4,
        "the first device's confirm removes what another has not seen",
        RANDOM,
        (Edit(pairs.floor_of, "confirmed < lowest", "confirmed > lowest % NEVER"),),
    ),
    Mutant(
        "wiped-before-the-confirm",
        4,
        "a confirm removes everything, also what came after it",
        RANDOM,
        (
            Edit(
                stream._confirm,
                "InboxUpto(user.number, wiped)",
                "InboxUpto(user.number, user.tail)",
            ),
        ),
    ),
    Mutant(
        "body-stays-in-the-sent-log",
        4,
        "the sent row keeps its body when it leaves the state `open`",
        RANDOM,
        (Edit(after_state, "        None,\n", "        row.body,\n"),),
    ),
    Mutant(
        "confirm-beyond-the-last-item",
        4,
        "a device may confirm what was never sent",
        "test_a_confirm_beyond_the_last_item_ends_the_session",
        (Edit(stream.on_confirm, "if m.q > user.tail:", "if False:"),),
    ),
    Mutant(
        "fresh-message-expires",
        4,
        "expiry removes messages whose time has not come",
        "test_messages_that_nobody_collects_expire_and_the_sender_hears_it",
        (Edit(trimming.on_expire, " if row[4] < m.before_us", ""),),
    ),
    Mutant(
        "unlinked-device-holds-bodies",
        4,
        "what only an unlinked device had not confirmed stays for ever",
        "an_unlinked_device_holds_nothing_back",
        (Edit(pairs.wipe_without, "InboxUpto(user.number, new)", "InboxUpto(user.number, old)"),),
    ),
    Mutant(
        "deleted-account-keeps-its-inbox",
        4,
        "a deleted account's inbox stays",
        "a_deleted_account_leaves_no_body",
        (Edit(removal.on_remove, "InboxUpto(user.number, user.tail),", ""),),
    ),
    Mutant(
        "deleted-account-keeps-its-sent-log",
        4,
        "a deleted account's sent log stays",
        "a_deleted_account_leaves_no_body",
        (Edit(removal.on_remove, "SentForgetAll(user.number),", ""),),
    ),
    Mutant(
        "ledger-forgets-early",
        4,
        "a scan of the ledger removes lines whose time has not come",
        "a_ledger_line_stays_for_its_time",
        (Edit(user.on_forget_ledger, "m.before_us", "turn.now_us + 1"),),
    ),
)

BOUNDED = (
    Mutant(
        "mailbox-without-a-bound",
        5,
        "an actor's mailbox takes any number of requests from sessions",
        "a_full_mailbox_refuses_requests",
        (Edit(Engine.post, "cell.queued >= self.limits.mailbox_max", "False"),),
    ),
    Mutant(
        "mailbox-without-a-bound-for-actors",
        5,
        "an actor's mailbox takes any number of requests from other actors",
        "an_actor_that_is_being_loaded_has_a_bounded_mailbox",
        (Edit(Engine.tell, "cell.queued >= self.limits.mailbox_max", "False"),),
    ),
    Mutant(
        "window-ignored-by-live-pushes",
        5,
        "a connected device that confirms nothing gets every new item",
        "a_live_stream_stays_within_the_window",
        (Edit(pairs.push_item, "len(flights) >= limits.window_items_max", "False"),),
    ),
    Mutant(
        "window-ignored-by-the-catch-up",
        5,
        "a backlog is sent at once, however long it is",
        "a_backlog_is_streamed_within_the_window",
        (Edit(stream.pump, "room = limits.window_items_max -", "room = 1_000_000 -"),),
    ),
    Mutant(
        "bytes-ignored-by-live-pushes",
        5,
        "new items are pushed however large the unconfirmed ones are",
        "large_items_stay_within_the_window",
        (Edit(pairs.push_item, "att.bytes + size > limits.window_bytes_max", "False"),),
    ),
    Mutant(
        "bytes-ignored-by-the-catch-up",
        5,
        "a slice of a backlog is sent however large its items are",
        "a_large_backlog_stays_within_the_window",
        (Edit(stream.pump, "limits.window_bytes_max - att.bytes", "1 << 30"),),
    ),
    Mutant(
        "strangers-without-a-bound",
        5,
        "anybody may try out any number of addresses",
        "test_nobody_finds_out_who_exists_faster_than_the_limit",
        (Edit(pairs.count_contact, "if user.contacts_used >= ", "if 1 << 30 <= "),),
    ),
    Mutant(
        "wiped-messages-still-counted",
        5,
        "the count that the inbox's bound looks at does not go down",
        RANDOM,
        (Edit(stream._count_wiped, "if gone:", "if False:"),),
    ),
    Mutant(
        "any-number-of-open-messages",
        5,
        "a sender's open rows have no bound",
        "a_sender_has_a_bounded_number_of_open_messages",
        (
            Edit(
                submit.on_submit,
                "if user.open_count >= turn.limits.open_per_account_max:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "all-under-way-at-once",
        5,
        "every open row to a peer is under way",
        RANDOM,
        (Edit(submit._accept, "if under_way < turn.limits.open_per_peer_max:", "if True:"),),
    ),
    Mutant(
        "batch-without-a-bound",
        5,
        "turns go on however much waits for the disk",
        "rows_behind_a_slow_disk_are_bounded",
        (Edit(Engine.turn, "self._open.rows >= self.limits.batch_rows_max", "False"),),
    ),
    Mutant(
        "trimmed-in-silence-for-the-sender",
        5,
        "the sender of a trimmed message does not hear of it",
        "test_a_full_inbox_is_trimmed_aloud_for_both_sides",
        (Edit(trimming._remove, "if id > pair.delivered_id:", "if False:"),),
    ),
    Mutant(
        "trimmed-in-silence-for-the-recipient",
        5,
        "the recipient's devices do not hear that something was trimmed",
        "test_a_full_inbox_is_trimmed_aloud_for_both_sides",
        (
            Edit(
                trimming._remove,
                "effects.append(\n        InboxRow(user.number, q, TRIM,",
                "[].append(\n        InboxRow(user.number, q, TRIM,",
            ),
        ),
    ),
    Mutant(
        "held-items-trimmed",
        5,
        "items that a live session holds are trimmed",
        "test_items_that_a_live_session_holds_are_never_trimmed",
        (Edit(trimming._remove, "if row[0] <= held", ""),),
    ),
    Mutant(
        "blocked-still-delivered",
        5,
        "a blocked sender's message is not refused",
        "test_a_blocked_sender_sees_one_mark_for_ever",
        (Edit(deliver.on_deliver, "if pair.blocked:", "if False:"),),
    ),
    Mutant(
        "never-given-back",
        5,
        "a sender retries for ever, past every deadline",
        "a_message_past_its_deadline_is_given_back",
        (Edit(submit.retry, "_close(user, pair, entry, REMOVED, EXPIRED, turn, effects)", "pass"),),
    ),
    Mutant(
        "deadline-ignored",
        5,
        "a message past its deadline is taken",
        "a_deliver_past_its_deadline_is_refused",
        (Edit(deliver.on_deliver, "if turn.now_us > m.deadline_us:", "if False:"),),
    ),
    Mutant(
        "failed-in-silence",
        5,
        "sessions do not hear that a commit failed",
        "sessions_hear_of_a_failed_commit",
        (Edit(Engine._fail, "self.host.failed(outcome, reason, releases)", "pass"),),
    ),
    Mutant(
        "every-mark-an-item",
        5,
        "an older receipt that waits for a device is not replaced by the newer one",
        "marks_that_wait_are_one_item_a_peer",
        (Edit(receipts.show_receipt, "if pair.receipt_q > floor_of(user):", "if False:"),),
    ),
    Mutant(
        "receipt-never-acknowledged",
        5,
        "an acknowledged receipt is still owed",
        RANDOM,
        (
            Edit(
                receipts.on_receipt_ack,
                "pair.acked_delivered_id = max(pair.acked_delivered_id, m.delivered_id)",
                "pass",
            ),
        ),
    ),
    Mutant(
        "any-number-of-devices",
        5,
        "an account links any number of devices",
        "an_account_has_a_bounded_number_of_devices",
        (Edit(devices.on_link, ">= turn.limits.devices_max", ">= 1 << 30"),),
    ),
    Mutant(
        "refusals-remembered-for-ever",
        5,
        "the ring of refusals is a set that grows",
        "refusals_are_not_remembered_for_ever",
        (Edit(deliver._clean_ring, "if id < low", "if False"),),
    ),
    Mutant(
        "unfit-submit-uses-no-number",
        5,
        "what the edge found unfit is neither refused nor counted",
        "what_the_edge_found_unfit_uses_its_number_up",
        (Edit(submit.on_submit, "_refuse(user, device, m, m.refused, turn, refusal)", "pass"),),
    ),
    Mutant(
        "failures-for-those-online-only",
        5,
        "that a message was trimmed is pushed to the sender, but not stored",
        "a_trimmed_inbox_is_announced_to_those_who_were_away",
        (
            Edit(
                receipts._tell_removed,
                "effects.append(\n        InboxRow(",
                "[].append(\n        InboxRow(",
            ),
        ),
    ),
    Mutant(
        "session-reads-on",
        5,
        "a session takes any number of unanswered submits",
        "a_session_stops_reading_at_its_limit",
        (
            Edit(
                Session._work,
                "if self._backlog or len(self._open) >= submits_max or self._waits_for_welcome:",
                "if self._backlog or self._waits_for_welcome:",
            ),
        ),
    ),
)

OWNER = (
    Mutant(
        "no-fence",
        6,
        "a commit does not check whether its node is still the owner",
        "a_node_that_was_taken_over_writes_nothing",
        (Edit(MemoryStore._write, "if self._epoch != self.disk.epoch:", "if False:"),),
    ),
    Mutant(
        "fenced-taken-as-success",
        6,
        "a commit that the fence refused counts as committed",
        "a_node_that_was_taken_over_writes_nothing",
        (
            Edit(
                Engine._done,
                "outcome is not Outcome.COMMITTED",
                "outcome in (Outcome.FAILED, Outcome.UNKNOWN)",
            ),
        ),
    ),
    Mutant(
        "nothing-to-write-nothing-to-check",
        6,
        "a turn that wrote no rows answers without a commit",
        "a_node_that_was_taken_over_answers_nobody",
        (
            Edit(
                Engine._flush,
                "self._flying, self._flying_releases = self._open",
                "if not self._open.rows:\n"
                "        self.host.release(self._releases)\n"
                "        self._releases = []\n"
                "        return\n"
                "    self._flying, self._flying_releases = self._open",
            ),
        ),
    ),
    Mutant(
        "fence-without-those-that-wrote-nothing",
        6,
        "a batch lists only the actors that wrote rows",
        RANDOM,
        (
            Edit(Engine._run, "batch.touched.setdefault(cell.key, cell.tenure)\n", "pass\n"),
            Edit(
                Engine._run,
                "cell.batch = batch.number",
                "cell.batch = batch.number\n"
                "            batch.touched.setdefault(cell.key, cell.tenure)",
            ),
        ),
    ),
    Mutant(
        "old-key-accepted",
        6,
        "a new registration leaves the old device and its key",
        "test_a_new_registration_ends_the_old_session_and_its_key",
        (Edit(devices.on_register, "user.devices.clear()", "pass"),),
    ),
    Mutant(
        "key-outlives-its-device",
        6,
        "an unlinked device is still on the disk",
        "an_unlinked_device_holds_nothing_back",
        (
            Edit(
                devices.on_unlink,
                "effects.append(DeviceGone(user.number, each.number))",
                "pass",
            ),
        ),
        seen_by=2,
    ),
    Mutant(
        "older-session-attaches",
        6,
        "a session that was replaced attaches again",
        "an_older_session_cannot_come_back",
        (Edit(devices.on_attach, " or m.ordinal < device.ordinal", ""),),
    ),
    Mutant(
        "two-sessions-of-one-device",
        6,
        "the session that was replaced is not told",
        "test_the_second_login_of_a_device_replaces_the_first",
        (
            Edit(
                devices.on_hello,
                "if old is not None and old.session != m.session:",
                "if False:",
            ),
        ),
    ),
)

CRASH = (
    Mutant(
        "state-survives-a-crash",
        7,
        "an actor whose rule raised goes on with what the rule had half done",
        "a_rule_that_raises_halfway_changes_nothing",
        (Edit(Engine._drop, "state, cell.state = cell.state, None", "state = cell.state"),),
    ),
    Mutant(
        "message-lost-by-a-crash",
        7,
        "the message at which a rule raised is not tried again",
        "a_message_is_tried_again_after_a_crash",
        (
            Edit(
                Engine._crash,
                "if crashes.suspect_crashes <= 2:",
                "if crashes.suspect_crashes == 2:",
            ),
        ),
    ),
    Mutant(
        "poison-for-ever",
        7,
        "a message that killed its actor twice is given to the rule again",
        "a_message_that_kills_twice_is_set_aside_visibly",
        (Edit(engine._is_poison, "return crashes.suspect is message and", "return False and"),),
    ),
    Mutant(
        "poison-in-silence",
        7,
        "what is set aside leaves no dead letter",
        "a_message_that_kills_twice_is_set_aside_visibly",
        (
            Edit(
                Engine._crash,
                "self._open.add(self.host.dead_letter(cell.key, message, error, turn))",
                "pass",
            ),
        ),
    ),
    Mutant(
        "sender-of-poison-not-told",
        7,
        "nobody who waits for a message set aside is told",
        "a_message_that_kills_twice_is_set_aside_visibly",
        (Edit(user.poison, "return refuse_poison_deliver(user, message)", "return []"),),
    ),
    Mutant(
        "sessions-not-told-of-a-crash",
        7,
        "sessions of an actor that lost its memory hear nothing",
        "sessions_of_a_crashed_actor_attach_again",
        (Edit(Interpreter._unknown, "sink.deliver(UnknownSession())", "pass"),),
    ),
    Mutant(
        "session-ignores-a-crash",
        7,
        "a session that its actor forgot does not attach again",
        "a_forgotten_session_attaches_and_repeats",
        (Edit(Session._on_unknown_session, "self._attach_soon()", "pass"),),
    ),
    Mutant(
        "reloaded-before-its-own-commit",
        7,
        "an actor that crashed is loaded while its rows are still being written",
        "a_crashed_actor_waits_for_its_own_rows",
        (Edit(Engine._when_committed, "if cell.batch > self.committed:", "if False:"),),
    ),
)

XMPP = (
    Mutant(
        "confirm-of-a-client-not-kept",
        2,
        "what an XMPP client has confirmed waits for the next one all the same",
        CLIENTS,
        (Edit(stream._confirm, "offline_of(user) if device.kind == RESOURCE else None", "None"),),
    ),
    Mutant(
        "client-begins-at-the-end",
        2,
        "a new XMPP client begins behind what waits for it",
        CLIENTS,
        (
            Edit(
                resources.on_available,
                "base.confirmed if base is not None else user.tail",
                "user.tail",
            ),
        ),
    ),
    Mutant(
        "store-for-clients-begins-too-late",
        2,
        "what the account's phone has not confirmed is not kept for its first XMPP client",
        "test_the_first_client_of_another_app_gets_what_waits",
        (Edit(resources._make_offline, "floor_of(user)", "user.tail"),),
    ),
    Mutant(
        "what-only-a-leaving-client-held-stays",
        4,
        "an XMPP client goes, and what only it had not confirmed is never wiped",
        CLIENTS,
        (Edit(resources.on_unbind, "wipe_without(user, [device], turn, effects)", "pass"),),
    ),
    Mutant(
        "unavailable-client-holds-on",
        4,
        "an XMPP client that takes nothing any more keeps what it had not confirmed from the wipe",
        "test_a_client_that_goes_unavailable_holds_nothing_up",
        (Edit(resources._stop, "device.confirmed = NEVER", "pass"),),
    ),
    Mutant(
        "strays-stay",
        4,
        "a client that a dead server left behind is never let go",
        CLIENTS,
        (Edit(resources.unbind_strays, "if not left:", "if True:"),),
    ),
)

SAME = (
    Mutant(
        "back-off-by-chance",
        8,
        "the jitter of a retry is drawn at random",
        "the_same_seed_gives_the_same_world",
        (Edit(pairs.backoff_us, "& 1023", "& __import__('random').randrange(1024)"),),
    ),
    Mutant(
        "ids-from-the-machine-clock",
        8,
        "an id is taken from the machine's clock",
        "the_same_seed_gives_the_same_world",
        (Edit(next_id, "return now_us if", "return __import__('time').time_ns() // 1000 if"),),
    ),
)

MUTANTS = {
    mutant.name: mutant
    for mutant in (*DURABLE, *ONCE, *ORDER, *WIPED, *BOUNDED, *OWNER, *CRASH, *XMPP, *SAME)
}
