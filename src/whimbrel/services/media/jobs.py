"""What the server and its worker processes say to each other: types only.

Apart from worker.py, so that the server itself never loads the libraries that open files.
"""

import msgspec

from whimbrel.domain.discreet import discreet


class Job(msgspec.Struct, frozen=True):
    """what: clean (file -> into) or look. family, format: of kinds.Kind."""

    what: str
    file: str
    family: str
    format: str
    into: str = ""
    pixels_max: int = 0
    thumbnail_px: int = 0
    cpu_s: int = 10


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """Measures in pixels and seconds; thumbnail in Base64, blur as BlurHash, or ""."""

    width: int = 0
    height: int = 0
    duration: float = 0.0
    thumbnail: str = ""
    blur: str = ""
    __repr__ = discreet


class Done(msgspec.Struct, frozen=True, omit_defaults=True):
    """trouble: "" or broken, bomb, memory, or the name of what was raised.

    changed: there is a clean copy; False: nothing had to be taken out.
    """

    trouble: str = ""
    changed: bool = False
    seen: Seen = Seen()
