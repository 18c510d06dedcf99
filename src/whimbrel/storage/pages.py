"""How much of an inbox one read returns: the same rule for every store.

At most `limit` rows and about `bytes` bytes of bodies, but one row if there is one.
"""

from collections.abc import Iterable

from whimbrel.domain.rows import InboxRow
from whimbrel.domain.wants import InboxWant

# The rows with their peers' addresses, and the number up to which nothing was left out.
InboxPage = tuple[tuple[tuple[InboxRow, str], ...], int]


def inbox_page(rows: Iterable[tuple[InboxRow, str]], want: InboxWant) -> InboxPage:
    """Take from `rows` (rising, already within (after, upto]) what one answer may hold."""
    taken: list[tuple[InboxRow, str]] = []
    room = want.bytes
    for pair in rows:
        size = len(pair[0].body or b"")
        if taken and size > room:
            return tuple(taken), taken[-1][0].q
        taken.append(pair)
        room -= size
        if len(taken) >= want.limit:
            return tuple(taken), pair[0].q
    return tuple(taken), want.upto
