"""One range of bytes (RFC 9110 section 14.1.2); several at once, and other units, are ignored."""

import re

from whimbrel.domain.errors import WrongRange

_ONE = re.compile(r"bytes=\s*([0-9]{0,15})-([0-9]{0,15})\s*")


def wanted(header: str, size: int) -> tuple[int, int] | None:
    """[start, end) of what is asked for; None: everything. Raises WrongRange."""
    match = _ONE.fullmatch(header)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None  # not a range at all
    if start >= size or start >= end:
        raise WrongRange(size)
    return start, end
