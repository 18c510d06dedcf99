"""Origins (RFC 6454): from whose pages a browser's request comes. Knows no request.

Law: what is not exactly scheme://host[:port] is nobody's origin.
"""

from urllib.parse import SplitResult, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def normal_origin(text: str) -> str:
    """As browsers write it, like "https://chat.example.org". Raises ValueError if it is none."""
    parts = _split(text)
    if parts is None:
        raise ValueError(text)
    port = f":{parts.port}" if parts.port not in (None, DEFAULT_PORTS[parts.scheme]) else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def is_same_place(origin: str, host: str) -> bool:
    """Is the page from where its request goes to? `host`: the request's Host.

    Host and port count. The scheme does not: a proxy that ends TLS hides it from us.
    """
    page = _split(origin)
    if page is None:
        return False
    here = _split(f"{page.scheme}://{host}")
    return here is not None and _place(here) == _place(page)


def _split(origin: str) -> SplitResult | None:
    """None if it is anything else or more; "null" is a page without a home."""
    text = origin.lower()
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises ValueError if it is no port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return parts if f"{parts.scheme}://{parts.netloc}" == text else None


def _place(parts: SplitResult) -> tuple[str | None, int]:
    return parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]
