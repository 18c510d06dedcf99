"""The data folder is the server's alone: nobody else on this machine looks into it.

lock.py calls close_folder(), so that every program that writes there has closed it first; the
node asks exposed() before, to say what had stood open. Law: folder 0700, files 0600 at most,
whatever the umask; a folder that stays open to everybody is refused, and a folder that holds
things of others is never touched.
"""

import stat
from contextlib import suppress
from pathlib import Path

from whimbrel.domain.errors import Unready

OTHERS = 0o007
NOT_OWNER = 0o077
OURS = ("whimbrel.db", "lock", "admin.", "pin.secret", "certificate", "replaced-", "media")


def exposed(folder: Path) -> list[str]:
    """What of a data folder that is in use others may look into: names, the folder's "." first."""
    if not (folder / OURS[0]).exists() or not _mode(folder) & NOT_OWNER:
        return []  # a closed folder closes what is in it
    return [".", *(path.name for path in _files(folder) if _mode(path) & NOT_OWNER)]


def close_folder(folder: Path) -> None:
    """Take the rights of group and others away. Raises Unready if others keep theirs."""
    mode = _mode(folder)
    if mode & NOT_OWNER:
        _refuse_shared(folder, mode)
        with suppress(OSError):  # not ours: what is left is judged below
            folder.chmod(mode & ~NOT_OWNER)
        left = _mode(folder)
        if left & OTHERS:
            raise Unready(
                f"the data folder {folder} is open to others (mode {left:o}) and cannot be"
                " closed by this user: name a new folder inside it with --data, or make it"
                f" this user's own and chmod 700 {folder}"
            )
    for path in _files(folder):
        if _mode(path) & NOT_OWNER:
            with suppress(OSError):  # another user's file, in a folder that is closed now
                path.chmod(_mode(path) & ~NOT_OWNER)


def _refuse_shared(folder: Path, mode: int) -> None:
    """A folder like /tmp, or one full of other things, must not be closed by mistake."""
    strangers = [path.name for path in folder.iterdir() if not path.name.startswith(OURS)]
    known = (folder / OURS[0]).exists()
    if mode & stat.S_ISVTX or (strangers and not known):
        raise Unready(
            f"the data folder {folder} is open to others (mode {mode:o}) and not Whimbrel's alone:"
            " name a folder of its own with --data"
        )


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:  # a log of the database that has just gone
        return 0
