"""Backup of a data folder, also of a running server's, and the way back.

A backup is a folder: the database as it was at one moment, the secrets that clients and
administrators know the server by, and a manifest. A restore opens a new era
(docs/protocol.md 4.9): numbers that were given after the backup are worthless, and clients
send again what the backup does not know. Laws: a backup is whole or has another name; a
restore never mixes two histories, and destroys nothing.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import apsw
import msgspec

from whimbrel import __version__
from whimbrel.domain.errors import Unready
from whimbrel.storage.ledger import snapshot
from whimbrel.storage.lock import FolderLock
from whimbrel.storage.opening import FILE, check, check_file
from whimbrel.storage.reasons import reason
from whimbrel.storage.schema import STEPS, refuse_newer, schema_of

MANIFEST = "manifest.json"
SECRETS = ("admin.token", "tokens.json", "pin.secret", "certificate.pem", "certificate-key.pem")
DEVICES_SKIPPED = 256  # more than an account can have been given since the backup
STEP_PAGES = 256  # 1 MiB: how much is copied between two looks at the progress
HASH_BYTES = 1 << 20

Progress = Callable[[int, int], None]  # done, in all


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself. Times are microseconds since 1970."""

    whimbrel: str  # the version that made it
    schema: int
    era: int
    made_us: int
    accounts: int
    database_bytes: int
    sha256: dict[str, str]  # of every file


def back_up(folder: Path, target: Path, progress: Progress) -> Manifest:
    """Copy `folder` to the new folder `target`. Raises Unready; then `target` is not there."""
    if target.exists():
        raise Unready(f"{target} exists already: choose another name, nothing was written")
    if not (folder / FILE).exists():
        raise Unready(f"there is no database in {folder}; name the data folder with --data")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(mode=0o700, parents=True)
        schema, era, accounts = _copy_database(folder / FILE, partial / FILE, progress)
        for name in SECRETS:
            if (folder / name).exists():
                _copy_file(folder / name, partial / name)
        manifest = Manifest(
            __version__,
            schema,
            era,
            time.time_ns() // 1_000,
            accounts,
            (partial / FILE).stat().st_size,
            {path.name: _sha256(path) for path in sorted(partial.iterdir())},
        )
        _write(partial / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        _sync(partial)
        partial.rename(target)
        _sync(target.parent)
    except apsw.Error as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise Unready(f"the database cannot be copied: {reason(error)}") from error
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise Unready(f"the backup {target} cannot be written: {error.strerror}") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest


def _copy_database(source: Path, target: Path, progress: Progress) -> tuple[int, int, int]:
    """One moment of it, while others go on writing: the log keeps what comes meanwhile."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(check_file(source)) as db, closing(apsw.Connection(str(target))) as copy:
        schema = schema_of(db, str(source))
        refuse_newer(schema, str(source))
        with snapshot(db):
            facts: Any = db.execute(
                "SELECT era, (SELECT count(*) FROM account WHERE deleted=0) FROM meta"
            ).fetchall()
            with copy.backup("main", db, "main") as work:
                while not work.done:
                    work.step(STEP_PAGES)
                    progress(work.page_count - work.remaining, work.page_count)
        # A file of its own: no log beside it, and nothing that looks like a crash.
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.execute("UPDATE meta SET clean = 1")
        if text := check(copy):
            raise Unready(f"the copy is damaged ({text}): is the database of the server sound?")
    _sync(target)
    return schema, int(facts[0][0]), int(facts[0][1])


# ---- the way back -----------------------------------------------------------------------


def read_manifest(source: Path) -> Manifest:
    """Raises Unready if `source` is no backup, a damaged one, or a newer version's."""
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise Unready(f"{source} is no backup: it has no {MANIFEST}") from None
    except (msgspec.DecodeError, OSError) as error:
        raise Unready(f"the {MANIFEST} of {source} cannot be read: {error}") from None
    if manifest.schema > len(STEPS):
        raise Unready(
            f"{source} was made by Whimbrel {manifest.whimbrel} (schema {manifest.schema}), which"
            f" is newer than this one (schema {len(STEPS)}): restore it with that version"
        )
    for name, expected in manifest.sha256.items():
        path = source / name
        if Path(name).name != name or not path.is_file() or _sha256(path) != expected:
            raise Unready(f"{source} is damaged: {name} is not what its {MANIFEST} says")
    if FILE not in manifest.sha256:
        raise Unready(f"{source} is damaged: its {MANIFEST} names no database")
    return manifest


def restore(source: Path, folder: Path, replace: bool) -> tuple[int, Path | None]:
    """Put a backup in the place of `folder`'s content, and open a new era.

    Returns the era, and where the old content is now. Raises Unready: a server runs there,
    the backup is damaged or newer, or the folder is not empty and `replace` is False.
    """
    manifest = read_manifest(source)
    lock = FolderLock(folder)
    try:
        old = folder / FILE
        aside: Path | None = None
        era = max(manifest.era, _era_of(old)) + 1
        if old.exists():
            if not replace:
                raise Unready(
                    f"{folder} has a database already: add --replace to put it aside,"
                    " or restore into another folder"
                )
            stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
            aside = _put_aside(folder, folder / f"replaced-{stamp}")
        # Two restores of one backup are two histories, also on a machine that never saw the
        # first: the seconds since 1970 keep their eras apart.
        era = max(era, int(time.time()))
        fresh = folder / (FILE + ".restored")
        _copy_file(source / FILE, fresh)
        _open_era(fresh, era)
        for name in manifest.sha256:
            if name != FILE:
                _copy_file(source / name, folder / name)
        fresh.rename(old)  # from here on there is a database again
        _sync(folder)
    except apsw.Error as error:
        raise Unready(f"the database cannot be restored: {reason(error)}") from error
    except OSError as error:
        raise Unready(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        lock.release()
    return era, aside


def _era_of(path: Path) -> int:
    """0 if there is none, or one that cannot be read: then the time decides."""
    if path.exists():
        with suppress(apsw.Error), closing(check_file(path)) as db:
            facts: Any = db.execute("SELECT era FROM meta").fetchall()
            return int(facts[0][0])
    return 0


def _put_aside(folder: Path, aside: Path) -> Path:
    aside.mkdir(mode=0o700)
    for path in folder.iterdir():
        if path.is_file() and path.name != "lock":
            path.rename(aside / path.name)
    return aside


def _open_era(path: Path, era: int) -> None:
    with closing(apsw.Connection(str(path))) as db:
        if text := check(db):
            raise Unready(f"the backup's database is damaged ({text}): nothing was changed")
        db.execute("UPDATE meta SET era = ?", (era,))
        # A device number is never used again, also not one that was given after the backup:
        # recipients know messages by (sender, device, c) and show none twice.
        db.execute("UPDATE account SET last_device = last_device + ?", (DEVICES_SKIPPED,))
    _sync(path)


# ---- files ------------------------------------------------------------------------------


def _copy_file(source: Path, target: Path) -> None:
    with open(source, "rb") as read:
        fresh = target.with_name(target.name + ".new")
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as write:
            shutil.copyfileobj(read, write, HASH_BYTES)
            write.flush()
            os.fsync(write.fileno())
        fresh.rename(target)


def _write(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
