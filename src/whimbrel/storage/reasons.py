"""What SQLite says, in the words an operator acts upon."""

import apsw

_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (apsw.FullError, "disk full"),
    (apsw.ReadOnlyError, "read-only"),
    (apsw.CantOpenError, "cannot be opened"),
    (apsw.CorruptError, "corrupt"),
    (apsw.NotADBError, "corrupt"),
    (apsw.IOError, "disk error"),
    (apsw.BusyError, "locked by another process"),
    (apsw.LockedError, "locked by another process"),
    (apsw.PermissionsError, "no permission"),
    (apsw.NoMemError, "out of memory"),
    (apsw.ConstraintError, "a row contradicts the tables"),
    (apsw.Error, "database error"),
)


def reason(error: Exception) -> str:
    """A short, clear text. SQLite's own words name columns and files, never values."""
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return f"{words} ({error})"
    # Not SQLite's: a value that no column can hold. Its text might quote the value.
    return f"a row could not be bound ({type(error).__name__})"
