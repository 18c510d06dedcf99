"""Checkpoints that leave no trace of what was removed.

SQLite's secure_delete zeroes what it frees, with one gap: when it balances a table it
copies rows to a neighbouring page and may leave the old copy in the unused middle of the
page it came from. A row deleted later is zeroed only where it is then. Measured: one body
in about 2,000 survived so. Therefore every checkpoint looks at the pages that the log
brought, and overwrites such leftovers in the database file.

Called by the writer's thread while no commit runs. Neighbour: sqlite.py decides when.
Law 4: after a truncating checkpoint a removed body is in no file of the folder.
"""

import struct

import apsw

_LOG_HEADER = 32
_FRAME_HEADER = 24
_CHUNK_FRAMES = 512
_LEAF_OF_TABLE = 0x0D  # the only pages that hold bodies, besides overflow pages
# From this page number on, an overflow page could begin with the byte of a leaf.
_PAGES_MAX = _LEAF_OF_TABLE << 24

_page_number = struct.Struct(">I").unpack_from
_leaf = struct.Struct(">BHHH").unpack_from  # kind, first free block, cells, content start


def checkpoint(db: apsw.Connection, *, truncate: bool, vfs: str = "") -> bool:
    """Copy the log into the database, scrub, and truncate the log if asked to.

    True if all was done; False if a reader was in the way: try again later. Raises
    apsw.Error if the disk refused.
    """
    try:
        frames, copied = db.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_PASSIVE)
        if frames != copied:
            return False
        if frames > 0 and _scrub(db, frames, vfs):
            db.execute("PRAGMA shrink_memory")  # cached pages still hold the leftovers
        if truncate:
            db.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except (apsw.BusyError, apsw.LockedError):
        return False
    return True


def _scrub(db: apsw.Connection, frames: int, vfs: str) -> int:
    """Zero the leftovers in the database file; how many pages had some."""
    path = db.filename
    with open(path + "-wal", "rb") as log:  # the log carries no locks: plain reading is safe
        found = _leftovers(log, frames)
    if not found:
        return 0
    # Through SQLite's own file layer: closing a plain descriptor would drop its locks.
    file = apsw.VFSFile(vfs, path, [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0])
    try:
        for page, (image, start, end) in found.items():
            at = (page - 1) * len(image)
            if file.xRead(len(image), at) == image:
                file.xWrite(bytes(end - start), at + start)
        file.xSync(apsw.SQLITE_SYNC_NORMAL)
    finally:
        file.xClose()
    return len(found)


def _leftovers(log: object, frames: int) -> dict[int, tuple[bytes, int, int]]:
    """page -> (its newest image, from, to) where the unused middle is not all zero.

    Reads in large pieces: each read hands the interpreter over to the loop's thread, and
    getting it back is what costs.
    """
    read = log.read  # type: ignore[attr-defined]
    size = struct.unpack_from(">I", read(_LOG_HEADER), 8)[0]
    step = _FRAME_HEADER + size
    zeros = bytes(size)
    found: dict[int, tuple[bytes, int, int]] = {}
    while frames > 0:
        chunk = read(step * min(frames, _CHUNK_FRAMES))
        frames -= _CHUNK_FRAMES
        for at in range(0, len(chunk), step):
            page = _page_number(chunk, at)[0]
            image = at + _FRAME_HEADER
            if page >= _PAGES_MAX:
                continue
            found.pop(page, None)
            kind, _, cells, content = _leaf(chunk, image)
            if kind != _LEAF_OF_TABLE or page == 1:
                continue
            start, end = 8 + 2 * cells, content or 65_536
            if chunk[image + start : image + end] != zeros[: end - start]:
                found[page] = (chunk[image : image + size], start, end)
    return found
