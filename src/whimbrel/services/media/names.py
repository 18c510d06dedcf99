"""Secrets and names: tokens, the links made of them, and file names that harm nobody.

A link's id is computed from the upload's token (a keyed hash, one way), so that a repeated
"done" gives the same link although neither is kept. Law: a name is one path segment without
control or direction characters, whatever was announced.
"""

import hashlib
import secrets
from urllib.parse import quote

from whimbrel.domain.media import NAME_BYTES_MAX

TOKEN_BYTES = 20  # 160 bits, of chance
LINK_BYTES = 20
SECRET_CHARS_MAX = 64


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def kept(secret: str) -> bytes:
    """What the ledger keeps of a token or a link's id."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


def link_id(token: str) -> str:
    return hashlib.blake2b(
        token.encode(), digest_size=LINK_BYTES, person=b"whimbrel-link"
    ).hexdigest()


def link_of(token: str, name: str) -> str:
    return f"/m/{link_id(token)}/{quote(name, safe='')}"


def safe_name(announced: str) -> str:
    """The last segment of what was announced, as it may stand in a link and on a disk."""
    last = announced.replace("\\", "/").rsplit("/", 1)[-1]
    plain = "".join(char for char in last if char.isprintable()).strip(" .")
    return _shortened(plain) or "file"


def _shortened(name: str) -> str:
    """At most NAME_BYTES_MAX bytes of UTF-8; a short ending stays."""
    if len(name.encode()) <= NAME_BYTES_MAX:
        return name
    stem, dot, ending = name.rpartition(".")
    tail = f"{dot}{ending}".encode() if stem and len(ending.encode()) <= 16 else b""
    head = (stem if tail else name).encode()[: NAME_BYTES_MAX - len(tail)]
    return head.decode(errors="ignore") + tail.decode()
