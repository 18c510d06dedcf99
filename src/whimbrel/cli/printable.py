"""Text of strangers, made safe for a terminal: no control characters reach it."""

import unicodedata

_HIDDEN = ("Cc", "Cs", "Co", "Cn")
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # may disguise what follows


def printable(text: str) -> str:
    """Keeps line breaks; every other control character becomes a visible box."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char) for char in text.replace("\t", "    "))


def _shown(char: str) -> str:
    if char == "\n":
        return char
    if unicodedata.category(char) in _HIDDEN or char in _TURNING:
        return "\ufffd"
    return char
