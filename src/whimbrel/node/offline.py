"""Administration while no server runs: add, list, delete and reset on the data folder itself.

The same store, engine, interpreter and rules as a server, in a small loop without asyncio;
`whimbrel user` (cli/users.py) calls it where no server answers. Law 6: one owner. While a
server runs on the folder its lock is held, and everything here is refused with that reason.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from whimbrel.domain.answers import Description, Registered, Rejected, Removed, ToSession
from whimbrel.domain.discreet import discreet
from whimbrel.domain.errors import Busy, Exists, NotFound, Refused, Unready
from whimbrel.domain.ids import PROBES, account_number, parse_address
from whimbrel.domain.limits import Limits
from whimbrel.domain.messages import Describe, Register, RemoveAccount, ToActor
from whimbrel.domain.rows import AccountRow
from whimbrel.domain.wants import Accounts
from whimbrel.edge.http.keys import new_key
from whimbrel.logic import user as user_rules
from whimbrel.node.clock import SystemClock
from whimbrel.node.interpreter import Interpreter
from whimbrel.node.secret_files import scram_keeper
from whimbrel.node.sessions import Sessions
from whimbrel.runtime.behaviour import Behaviours
from whimbrel.runtime.engine import Engine
from whimbrel.storage.opening import FILE
from whimbrel.storage.sqlite import SqliteStore

ANSWER_S = 20.0
PAGE = 1_000
REPLY = 1

Call = Callable[[], None]


class NewKey(msgspec.Struct, frozen=True):
    """The key is told once, here; the store keeps its hash."""

    account: str
    device: int
    key: str

    __repr__ = discreet


def add(folder: Path, address: str) -> NewKey:
    """Create an account. Raises BadAddress, Exists or Unready."""
    address = parse_address(address)
    with _opened(folder) as office:
        if office.exists(address):
            raise Exists
        return office.register(address)


def list_(folder: Path) -> list[str]:
    """All addresses, in order. Raises Unready."""
    with _opened(_with_database(folder)) as office:
        return office.addresses()


def delete(folder: Path, address: str) -> None:
    """Remove an account and everything that waits for it. Raises NotFound or Unready."""
    address = parse_address(address)
    with _opened(_with_database(folder)) as office:
        answer = office.ask(account_number(address), RemoveAccount(REPLY))
        if not isinstance(answer, Removed):
            raise _refusal(answer)
        if answer.code:
            raise NotFound


def reset(folder: Path, address: str) -> NewKey:
    """A new key; the old ones are worthless. Raises NotFound or Unready."""
    address = parse_address(address)
    with _opened(_with_database(folder)) as office:
        if not office.exists(address):
            raise NotFound
        return office.register(address)


def _with_database(folder: Path) -> Path:
    """Looking for an account must not make a database in a folder named by mistake."""
    if not (folder / FILE).exists():
        raise Unready(f"there is no database in {folder}; name the data folder with --data")
    return folder


@contextmanager
def _opened(folder: Path) -> Iterator["_Office"]:
    office = _Office(folder)
    try:
        yield office
    finally:
        office.close()


def _refusal(answer: ToSession) -> Refused | Unready:
    """What the rules refuse here; anything else is our bug, said by name."""
    code = answer.code if isinstance(answer, Rejected) else type(answer).__name__
    return Exists() if code == Exists.code else Unready(f"the rules answered {code}")


class _Office:
    """A node without doors: one question at a time, each answered after its commit."""

    def __init__(self, folder: Path) -> None:
        limits, clock = Limits(), SystemClock()
        self._soon: deque[Call] = deque()
        self._posted: SimpleQueue[Call] = SimpleQueue()  # also from the store's threads
        self._answers: list[ToSession | None] = []
        self._store = SqliteStore(folder, self._posted.put, limits, on_damage=self._on_damage)
        self._damage = ""
        sessions = Sessions(clock.now_us())
        self._host = Interpreter(sessions, limits, clock, self._store.era, _no_pin)
        behaviours = Behaviours([user_rules], lambda key: 0)
        self._engine = Engine(
            self._store, self._host, behaviours, limits, self._soon.append, _never
        )
        self._host.engine = self._engine
        self._keep = scram_keeper(folder)

    def ask(self, key: int, message: ToActor) -> ToSession:
        """Tell the actor, run until its reply was released. Raises Busy or Unready."""
        self._answers.clear()
        self._host.replies[REPLY] = self._answers.append
        if not self._engine.post(key, message):
            raise Busy("the mailbox is full")
        while not self._answers:
            self._step()
        answer = self._answers[0]
        if answer is None:
            raise Unready(self._host.trouble or "the commit failed")
        return answer

    def _step(self) -> None:
        if self._damage:
            raise Unready(self._damage)
        if self._soon:
            self._soon.popleft()()
            return
        try:
            call = self._posted.get(timeout=ANSWER_S)
        except Empty:
            raise Unready("the store does not answer in time") from None
        call()

    def exists(self, address: str) -> bool:
        answer = self.ask(account_number(address), Describe(REPLY))
        if not isinstance(answer, Description):
            raise _refusal(answer)
        return answer.exists

    def register(self, address: str) -> NewKey:
        key, hashed = new_key()
        kept = self._keep(address, key)
        answer = self.ask(account_number(address), Register(address, hashed, "", REPLY, kept))
        if not isinstance(answer, Registered):
            raise _refusal(answer)
        return NewKey(answer.account, answer.device, key)

    def addresses(self) -> list[str]:
        found: list[str] = []
        while True:
            page = self._page(found[-1] if found else "")
            found += [row.address for row in page]
            if len(page) < PAGE:
                return [address for address in found if address not in PROBES]

    def _page(self, after: str) -> list[AccountRow]:
        taken: list[list[object] | Exception] = []
        self._store.load([Accounts(after, PAGE)], taken.append)
        answers = taken[0]  # this store reads before load() returns
        if isinstance(answers, Exception):
            raise answers
        rows = answers[0]
        assert isinstance(rows, list)
        return rows

    def close(self) -> None:
        self._store.close()

    def _on_damage(self, text: str) -> None:
        self._damage = text


def _no_pin(number: str, pin: str) -> None:
    """There is no sign-up desk here that could ask for one."""


def _never(delay_us: int, call: Call) -> None:
    """Nothing is tried later: whoever called hears the reason and may call again."""
