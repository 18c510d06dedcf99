"""The data folder: whose it is, who may look into it, and whether its database is sound."""

import fcntl
import os
import stat
from pathlib import Path

from whimbrel.domain.errors import Unready
from whimbrel.node.doctor.finding import Finding, Patient, bad, good, unknown, warning
from whimbrel.storage.ledger import opened
from whimbrel.storage.opening import FILE

OTHERS = 0o077


def check(patient: Patient) -> list[Finding]:
    folder = patient.folder
    if not folder.exists():
        return [unknown("data folder", f"{folder} is not there yet; made on the first start")]
    own = [] if patient.config.store.url else [_database(folder)]  # else installation.py looks
    return [_rights(folder), *own, _running(patient)]


def running_pid(folder: Path) -> int:
    """The process that holds the folder's lock; 0: nobody does. The lock is only asked about."""
    try:
        with open(folder / "lock", "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return int(file.read(32) or b"0")
    except (OSError, ValueError):
        return 0
    return 0


def _rights(folder: Path) -> Finding:
    try:
        owner = folder.stat().st_uid
        open_to_others = [
            path.name
            for path in (folder, *folder.iterdir())
            if stat.S_IMODE(path.lstat().st_mode) & OTHERS and not path.is_symlink()
        ]
    except PermissionError:
        text = f"{folder} may not be read by this user"
        return unknown("data folder", text, "run the doctor as the server's user")
    if stat.S_IMODE(folder.stat().st_mode) & OTHERS:
        text = f"other users may look into it ({len(open_to_others)} names)"
        return warning("data folder", text, f"chmod 700 {folder} (the server does so on its start)")
    if owner != os.geteuid() and os.geteuid() != 0:
        return warning("data folder", f"belongs to user {owner}", "start the server as that user")
    return good("data folder", f"{folder}, closed to others")


def _database(folder: Path) -> Finding:
    """Read beside a running server, which notices nothing of it."""
    if not (folder / FILE).exists():
        return unknown("database", "none yet; made on the first start")
    try:
        with opened(folder) as db:
            said = [row[0] for row in db.execute("PRAGMA quick_check(3)")]
    except Unready as error:
        return bad("database", str(error), "`whimbrel restore` the last backup")
    size_mib = sum(file.stat().st_size for file in folder.glob(f"{FILE}*")) / 1_048_576
    if said != ["ok"]:
        text = f"damaged: {'; '.join(map(str, said))}"
        return bad("database", text, "stop the server; `whimbrel restore` the last backup")
    return good("database", f"sound (quick_check), {size_mib:,.1f} MiB")


def _running(patient: Patient) -> Finding:
    if not patient.pid:
        return good("server", "none runs on this folder")
    return good("server", f"runs as process {patient.pid}")
