"""Planted bugs that the simulated world has to notice: small edits of production rules.

The first list follows the table at the end of the delivery protocol's description ("what
breaks without which rule"); the second one is ours. Bugs that need no world but one precise
dialogue stand in tests/laws (docs/laws.md); the two lists together cover the whole table.
`python -m sim.hunt` plays them and prints the table of docs/simulator.md.
"""

from sim.device import SimDevice
from sim.leases import SimLeases
from sim.node import SimNode
from sim.planting import Edit, Mutant
from sim.xmpp_mutants import XMPP
from whimbrel.cluster.shards import Holdings
from whimbrel.edge.session import Session
from whimbrel.logic import (
    deliver,
    devices,
    pairs,
    receipts,
    stream,
    submit,
    trimming,
    user,
)
from whimbrel.runtime.engine import Engine
from whimbrel.storage import memory_rows, memory_wants
from whimbrel.storage.memory import MemoryStore

TABLE = (
    Mutant(
        "release-before-the-commit",
        1,
        "answers leave when the commit begins",
        "swarm",
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
        "submit-numbers-may-jump",
        2,
        "a number above the next one is taken",
        "lossy",
        (Edit(submit.on_submit, "if c > device.submitted + 1:", "if False:"),),
    ),
    Mutant(
        "refusal-leaves-its-number-free",
        2,
        "a submit that is refused for good does not use its number up",
        "clocks",
        (Edit(submit._refuse, "device.submitted = m.c\n", "pass\n"),),
    ),
    Mutant(
        "watermark-without-prev",
        2,
        "a message is stored although an older one is missing",
        "lossy",
        (Edit(deliver.on_deliver, "if m.prev > pair.stored_id:", "if False:"),),
    ),
    Mutant(
        "dedupe-gone-after-the-wipe",
        2,
        "what was wiped is not known when a retry comes",
        "lossy",
        (
            Edit(
                deliver.on_deliver,
                "if m.id <= pair.stored_id:",
                "if pair.delivered_id < m.id <= pair.stored_id:",
            ),
        ),
    ),
    Mutant(
        "inbox-numbers-from-the-rows",
        2,
        "the next inbox number is one above the highest row that is left",
        "crashes",
        (
            Edit(
                user.fill,
                "user.tail = account.tail\n",
                "user.tail = account.tail if account.waiting else 0\n",
            ),
        ),
    ),
    Mutant(
        "id-not-floored",
        2,
        "a node with a slower clock gives smaller ids than the last owner",
        "clocks",
        (Edit(submit._accept, "next_id(now, user.last_id)", "next_id(now, 0)"),),
    ),
    Mutant(
        "no-fence",
        6,
        "a commit is not checked against the epochs of its shards",
        "takeovers",
        (Edit(SimNode.holds, "in known.items():", "in ():"),),
    ),
    Mutant(
        "loaded-before-the-epoch-is-raised",
        6,
        "the new owner loads while the old one may still commit",
        "wakers",
        (
            Edit(
                SimLeases._take_over,
                "self.node.after(",
                "import copy\n"
                "    early = vars(self.node).setdefault('early', {})\n"
                "    early[number] = copy.deepcopy(self.disk.tables)\n"
                "    self.node.after(900_000 + ",
            ),
            Edit(
                MemoryStore._read,
                "read(self.disk.tables, want)",
                "read(vars(self.node).get('early', {}).pop(self.disk.shard_of(want.number),"
                " self.disk.tables) if type(want).__name__ == 'UserWant'"
                " else self.disk.tables, want)",
            ),
        ),
    ),
    Mutant(
        "unknown-outcome-read-at-once",
        6,
        "after a commit of unknown end the shards are not taken again",
        "unknowns",
        (Edit(SimLeases.retake, "self._set_owner(shard, self.node.number)", "shard.epoch"),),
    ),
    Mutant(
        "unknown-outcome-taken-as-success",
        1,
        "a commit of which nobody knows the end counts as committed",
        "unknowns",
        (
            Edit(
                Engine._done,
                "outcome is not Outcome.COMMITTED",
                "outcome in (Outcome.FAILED, Outcome.FENCED)",
            ),
        ),
    ),
    Mutant(
        "batches-behind-a-failed-one-go-on",
        2,
        "rows gathered behind a failed commit are written by the next one",
        "unknowns",
        (Edit(Engine._fail, "self._open = self.host.new_batch(last + 1)", "pass"),),
    ),
    Mutant(
        "confirm-sent-once",
        2,
        "a device does not repeat its confirm when it comes back",
        "partings",
        (Edit(SimDevice.on_welcome, "if self.last > m.confirmed:", "if False:"),),
    ),
    Mutant(
        "open-work-not-woken",
        2,
        "after a restart nobody looks for open rows",
        "orphans",
        (Edit(memory_wants._owners_open, "return sorted(", "return [] and sorted("),),
    ),
    Mutant(
        "receipt-not-clipped",
        2,
        "the mark covers a message that is still being retried",
        "blocks",
        (Edit(receipts.show_receipt, "if pair.open:", "if False:"),),
    ),
    Mutant(
        "refusal-not-sticky",
        2,
        "a message refused by a block is taken when it is asked again",
        "blocks",
        (Edit(deliver._refuse, "pair.stored_id = m.id\n", "pass\n"),),
    ),
    Mutant(
        "receipt-not-retried",
        2,
        "a receipt is said once",
        "lossy",
        (Edit(receipts.retry_receipt, "send_receipt(user, pair, turn, effects)", "pass"),),
    ),
    Mutant(
        "wiped-after-the-first-device",
        4,
        "one confirm wipes for all devices",
        "newcomers",
        (
            Edit(
                stream._confirm,
                "    wiped = floor_of(user)",
                "    wiped = max(device.confirmed for device in user.devices.values())",
            ),
        ),
    ),
    Mutant(
        "new-device-starts-at-the-tail",
        2,
        "a new registration does not get what waits",
        "newcomers",
        (Edit(devices.on_register, "start = floor_of(user)", "start = user.tail"),),
    ),
    Mutant(
        "restore-without-era",
        2,
        "a restored server believes the device's old number",
        "restores",
        (
            Edit(devices.on_hello, "m.era == turn.era and ", ""),
            Edit(Session._on_welcome, "hello.era == welcome.era and ", ""),
        ),
    ),
    Mutant(
        "live-push-beside-the-catch-up",
        3,
        "a new item is pushed although older ones are still being read",
        "reconnects",
        (
            Edit(
                pairs.push_item,
                "if att.cursor == before and not att.reading:",
                "if True:",
            ),
        ),
    ),
    Mutant(
        "session-without-a-gap-check",
        3,
        "a session forwards what comes, gap or not",
        "lossy",
        (Edit(Session._forward, "if item.prev <= last < item.q:", "if last < item.q:"),),
    ),
    Mutant(
        "session-never-resends",
        2,
        "a submit that got lost between session and actor stays lost",
        "lossy",
        (Edit(Session._resend, "if not self._backlog:", "if False:"),),
    ),
    Mutant(
        "asleep-while-uncommitted",
        2,
        "an actor may be put to sleep while its rows are being written",
        "hangs",
        (Edit(Engine.sweep, "and cell.batch <= self.committed", ""),),
    ),
    Mutant(
        "shards-not-checked-at-renewal",
        6,
        "a node that lost a shard goes on, also after a commit was refused",
        "takeovers",
        (
            Edit(
                Holdings.renewed,
                "if answer.owners[shard] != self.node or answer.epochs[shard] != epoch",
                "if not epoch",
            ),
            Edit(SimLeases.retake, "self.epochs.keys() - epochs.keys()", "()"),
            Edit(Holdings.late, "now_us < self.until_us", "True"),
            Edit(Holdings.epoch, "now_us >= self.until_us", "False"),
        ),
    ),
    Mutant(
        "receipt-marks-every-row",
        2,
        "a receipt marks rows that are still open",
        "lossy",
        (
            Edit(memory_rows._delivered, "if row.state != STORED:", "if row.state > STORED:"),
            Edit(receipts.show_receipt, "if pair.open:", "if False:"),
        ),
    ),
    Mutant(
        "restore-without-resending",
        2,
        "after a restore the client sends nothing again",
        "restores",
        (
            Edit(SimDevice._restored, "if message.c > m.submitted:", "if False:"),
            Edit(SimDevice.on_welcome, "message.c > m.submitted or ", ""),
        ),
    ),
    Mutant(
        "restore-without-client-dedupe",
        2,
        "after a restore the client shows again what it has shown",
        "restores",
        (Edit(SimDevice.on_message, "if m.c > self.highest.get(who, 0):", "if True:"),),
    ),
)

OWN = (
    Mutant(
        "retry-without-back-off",
        5,
        "an actor that hears nothing asks again at the same pace for ever",
        "apart",
        (Edit(pairs.backoff_us, "min(attempts, 30)", "0"),),
    ),
    Mutant(
        "repeated-welcome-goes-back",
        2,
        "the answer to a hello that came twice sets the session back",
        "hellos",
        (
            Edit(Session._on_welcome, "max(self._last, welcome.confirmed)", "welcome.confirmed"),
            Edit(
                Session._on_welcome,
                "max(self._confirmed, welcome.confirmed)",
                "welcome.confirmed",
            ),
        ),
    ),
    Mutant(
        "sleepers-kept-when-abandoned",
        2,
        "what a sleeping actor left in the registry outlives the loss of its shard",
        "movers",
        (Edit(Engine.abandon, "self.host.abandoned(lost)", "pass"),),
    ),
    Mutant(
        "blocked-runs-cover-what-was-stored",
        2,
        "a run of messages that a block refused is told as one range, stored ones included",
        "blocks",
        (
            Edit(
                receipts.hide,
                "if hidden and pair.kept_id < hidden[-1][1] < id < lowest:",
                "if hidden and hidden[-1][1] < id:",
            ),
        ),
    ),
    Mutant(
        "dead-session-holds-the-inbox",
        5,
        "a session whose node died counts as attached for ever",
        "widows",
        (Edit(stream.rewind_stale, "turn.mono_us - att.seen_us >", "-1 >"),),
    ),
    Mutant(
        "only-messages-head-the-inbox",
        5,
        "the oldest rows are looked at, whether they can be trimmed or not",
        "full",
        (
            Edit(memory_wants._oldest, "if row.kind <= LAST_WITH_BODY", "if True"),
            Edit(trimming._oldest, "return rows", "return [r for r in rows if r[1] == MESSAGE]"),
        ),
    ),
    Mutant(
        "retry-given-up",
        2,
        "the sender's actor stops after three tries",
        "lossy",
        (Edit(submit.retry, "_deliver(", "entry.attempts > 3 or _deliver("),),
    ),
    Mutant(
        "busy-taken-as-delivered",
        2,
        "the answer `busy` closes the open row",
        "full",
        (
            Edit(
                submit.on_busy,
                "wake_by(user, entry.retry_us)",
                "effects: list[Effect] = []\n"
                '        _close(user, pair, entry, STORED, "", turn, effects)\n'
                "        return effects",
            ),
        ),
    ),
    Mutant(
        "no-dedupe-of-delivers",
        2,
        "every retry is a new message",
        "lossy",
        (Edit(deliver.on_deliver, "if m.id <= pair.stored_id:", "if False:"),),
    ),
    Mutant(
        "second-mark-when-stored",
        2,
        "two marks as soon as the inbox has the message",
        "swarm",
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
        "mark-passes-over-a-block",
        2,
        "a message that a block refused gets two marks from a later one",
        "lossy",
        (Edit(receipts.show_receipt, "if pair.hidden and", "if False and"),),
    ),
    Mutant(
        "trimmed-in-silence",
        2,
        "a full inbox drops the oldest, and their senders hear nothing",
        "full",
        (Edit(trimming._remove, "if id > pair.delivered_id:", "if False:"),),
    ),
    Mutant(
        "fresh-message-expires",
        2,
        "the expiry takes whatever waits",
        "expiring",
        (Edit(trimming.on_expire, "row[4] < m.before_us", "True"),),
    ),
    Mutant(
        "window-without-a-bound",
        5,
        "live items are pushed whatever is unconfirmed",
        "reconnects",
        (
            Edit(
                pairs.push_item,
                "len(flights) >= limits.window_items_max",
                "False",
            ),
        ),
    ),
    Mutant(
        "actors-survive-a-failed-commit",
        2,
        "memory is kept although its rows were not written",
        "unknowns",
        (Edit(Engine._fail, "self.cells.clear()", "pass"),),
    ),
    Mutant(
        "inbox-read-before-its-own-commit",
        2,
        "the inbox is read while rows of it are being written",
        "takeovers",
        (Edit(Engine.read, "if batch > self.committed:", "if False:"),),
    ),
    Mutant(
        "rewind-ignored",
        2,
        "an actor does not send again what a session missed",
        "lossy",
        (
            Edit(stream.on_rewind, "rewind(device, att, max(m.last, device.confirmed))", "pass"),
            Edit(stream.rewind_stale, "rewind(device, att, device.confirmed)", "pass"),
        ),
    ),
    Mutant(
        "key-kept-after-a-new-sign-up",
        6,
        "the old device rows stay",
        "newcomers",
        (
            Edit(
                devices.on_register,
                "effects += [DeviceGone(user.number, number) for number in user.devices]",
                "pass",
            ),
        ),
    ),
    Mutant(
        "lease-kept-when-it-ran-out",
        6,
        "a node goes on although its lease may be taken (the fence alone holds it)",
        "takeovers",
        (
            Edit(Holdings.late, "now_us < self.until_us", "True"),
            Edit(Holdings.epoch, "now_us >= self.until_us", "False"),
            Edit(SimNode.holds, "in known.items():", "in ():"),
        ),
    ),
)

MUTANTS = (*TABLE, *OWN, *XMPP)
