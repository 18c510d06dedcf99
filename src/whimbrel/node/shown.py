"""The configuration as administrators may see it: every key, and no secret.

Law: text is shown only under the keys named here; of all other text is told whether it is set. So
a new key with a secret in it is hidden before anybody thinks of it.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

SHOWN = frozenset(
    {
        "domain", "data", "default_region", "listen.host", "listen.plain_host", "tls.certificate",
        "tls.key", "sms.sender", "web.origins", "web.trusted_proxies", "log.format", "log.level",
        "media.store", "media.types", "xmpp.admins", "xmpp.upload_base",
    }
)  # fmt: skip


def shown(config: msgspec.Struct) -> dict[str, str]:
    return dict(_walk("", config))


def _walk(above: str, table: msgspec.Struct) -> Iterator[tuple[str, str]]:
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if isinstance(value, msgspec.Struct):
            yield from _walk(f"{above}{name}.", value)
        else:
            yield f"{above}{name}", _text(value, f"{above}{name}" in SHOWN)


def _text(value: Any, open_: bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not value:
        return ""
    if isinstance(value, tuple | list) and (open_ or all(type(v) in (int, float) for v in value)):
        return ", ".join(str(each) for each in value)
    if isinstance(value, str) and open_:
        return value
    return "(set)"
