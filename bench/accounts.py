"""Accounts for load: written straight into a data folder, as sign-up would have left them."""

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from whimbrel.domain.batch import Batch
from whimbrel.domain.ids import account_number
from whimbrel.domain.limits import Limits
from whimbrel.domain.ports import Outcome
from whimbrel.domain.rows import AccountRow, DeviceRow
from whimbrel.node.secret_files import scram_keeper
from whimbrel.protocol.sasl.verifiers import keep_nothing
from whimbrel.storage.sqlite import SqliteStore

CREATED_US = 1_790_000_000_000_000
SLICE = 20_000


def address_of(n: int) -> str:
    return f"+49151{n:08d}"


def key_of(n: int) -> str:
    """As long as a real key, and different for everybody."""
    return sha256(f"bench key {n}".encode()).hexdigest()[:43]


def create(folder: Path, count: int, first: int = 0, *, xmpp: bool = False) -> None:
    """Accounts first .. first+count-1, one device each; xmpp: that may log in by SCRAM."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    keep = scram_keeper(folder) if xmpp else keep_nothing
    soon: deque[Callable[[], None]] = deque()
    store = SqliteStore(folder, soon.append, Limits())
    ended: list[Outcome] = []
    for number, start in enumerate(range(first, first + count, SLICE), 1):
        batch = Batch(number)
        for n in range(start, min(start + SLICE, first + count)):
            address = address_of(n)
            account = account_number(address)
            key_hash = sha256(key_of(n).encode()).digest()
            batch.add(AccountRow(account, address, CREATED_US, 0, 0, 0, 1, CREATED_US, 0, 0, False))
            kept = keep(address, key_of(n))
            batch.add(DeviceRow(account, 1, key_hash, "bench", 0, 0, 0, 0, CREATED_US, scram=kept))
        ended.clear()
        store.commit(batch, lambda outcome, reason: ended.append(outcome))
        while not ended:
            while soon:
                soon.popleft()()
        if ended[0] is not Outcome.COMMITTED:
            raise RuntimeError(f"accounts were not written: {ended[0]}")
    store.close()
