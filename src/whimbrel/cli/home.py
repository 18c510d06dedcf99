"""The local accounts of this terminal: who, which key, which server, whom to trust.

Kept in $WHIMBREL_HOME, else $XDG_DATA_HOME/whimbrel, else ~/.local/share/whimbrel.
Law: files with keys are written whole or not at all, and only their owner may read them.
"""

import os
import re
from pathlib import Path

import msgspec

from whimbrel.client import Authority, Client, ClientError, Pinned, Plain, Trust
from whimbrel.client.sqlite_store import SqliteClientStore, keep_others_out
from whimbrel.domain.discreet import discreet


class Account(msgspec.Struct):
    """fingerprint "": the server's certificate is signed by an authority."""

    address: str
    device: int
    key: str
    host: str
    port: int
    url: str  # where it signed up
    fingerprint: str = ""
    tls: bool = True
    __repr__ = discreet

    @property
    def trust(self) -> Trust:
        if not self.tls:
            return Plain()
        return Pinned(self.fingerprint) if self.fingerprint else Authority()


class _File(msgspec.Struct):
    last: str = ""
    accounts: list[Account] = msgspec.field(default_factory=list)


class Home:
    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or _default_folder()
        self._path = self.folder / "accounts.json"

    def _read(self) -> _File:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return _File()
        except msgspec.DecodeError as error:
            raise ClientError(f"{self._path} is damaged ({error}); mend or remove it") from None

    def _write(self, file: _File) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        keep_others_out(self.folder)
        new = self._path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(file), indent=2))
            out.flush()
            os.fsync(out.fileno())
        os.replace(new, self._path)

    def accounts(self) -> tuple[list[Account], str]:
        """All of them, and the address used last."""
        file = self._read()
        return file.accounts, file.last

    def pick(self, address: str | None) -> Account:
        """The wanted one, else the only one or the one used last; remembered as such."""
        file = self._read()
        if not file.accounts:
            raise ClientError("there is no account here yet; start with: whimbrel register")
        wanted = compact(address) if address else file.last
        for account in file.accounts:
            if account.address == wanted:
                break
        else:
            if address:
                known = ", ".join(one.address for one in file.accounts)
                raise ClientError(f"no local account {wanted}; there are: {known}")
            account = file.accounts[-1]
        if file.last != account.address:
            file.last = account.address
            self._write(file)
        return account

    def save(self, account: Account) -> None:
        """Add it, or replace the one with this address; it is the last one used."""
        file = self._read()
        others = [one for one in file.accounts if one.address != account.address]
        self._write(_File(account.address, [*others, account]))

    def known_fingerprint(self, host: str, port: int) -> str:
        """What was trusted for this server before, or ""."""
        for account in self._read().accounts:
            if (account.host, account.port) == (host, port):
                return account.fingerprint
        return ""

    def trust(self, host: str, port: int, fingerprint: str) -> int:
        """Trust this certificate from now on; gives the number of accounts that changed."""
        file = self._read()
        changed = [one for one in file.accounts if (one.host, one.port) == (host, port)]
        for account in changed:
            account.fingerprint = fingerprint
        self._write(file)
        return len(changed)

    def client(self, account: Account) -> Client:
        """A client whose numbers and conversations are kept in this folder."""
        return Client(
            account.address,
            account.device,
            account.key,
            account.host,
            account.port,
            store=SqliteClientStore(self.folder / "accounts" / f"{account.address}.db"),
            trust=account.trust,
            agent="whimbrel-cli",
        )


def compact(number: str) -> str:
    """An address without the spaces, dashes and brackets people write in numbers."""
    if number.strip().startswith(("+", "00")):
        digits = re.sub(r"[\s()/.-]", "", number)
        return "+" + digits[2:] if digits.startswith("00") else digits
    return number.strip().lower()


def _default_folder() -> Path:
    if home := os.environ.get("WHIMBREL_HOME"):
        return Path(home)
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "whimbrel"
