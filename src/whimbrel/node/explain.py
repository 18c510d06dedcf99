"""The configuration explained, made from the types: every key, its default, unit and meaning.

`python -m whimbrel.node.explain > docs/configuration.md` (a test checks that it is true), and
`whimbrel config --explain | --example`.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from whimbrel.cluster.bus import BusSettings
from whimbrel.domain.desk import SignupLimits
from whimbrel.domain.limits import Limits
from whimbrel.domain.media import MediaSettings
from whimbrel.edge.xmpp.settings import XmppSettings
from whimbrel.node.config import (
    Config,
    Listen,
    Log,
    NodeSettings,
    Restart,
    Sms,
    StoreSettings,
    Tls,
    Traces,
    Web,
)
from whimbrel.node.samples import AlertSettings, ProbeSettings
from whimbrel.node.upgrade.settings import UpgradeSettings

INTRODUCTION = """# Configuration

One TOML file, given with `whimbrel serve --config FILE` (or `make run ARGS="--config FILE"`).
Every key has a default; without a file everything below is in force. A mistake is refused at
the start with the name of its key. This page is made from the code (`make docs`).

Names end in their unit: `_s` seconds, `_us` microseconds, `_bytes`, `_max`, `_per_s`.

```toml
domain = "chat.example.org"

[listen]
native = 443

[tls]
certificate = "/etc/ssl/chat.pem"
key = "/etc/ssl/chat.key"

[sms]
sender = "webhook"

[sms.options]
url = "https://sms.example.net/send"
headers = { "Content-Type" = "application/json", "Authorization" = "Bearer ..." }
body = '{"to": "{number}", "text": "{text}"}'

[limits]
inbox_messages_max = 20000
```

The options of the senders: `console` has none (PINs appear on the server's terminal and on the
local page `/pins`); `file` takes `path`; `twilio` takes `account_sid`, `auth_token`, `from` and
`text`; `webhook` takes `url`, `method`, `headers`, `body`, `text` and `success`.
"""

SECTIONS: list[tuple[str, type[msgspec.Struct]]] = [
    ("", Config),
    ("listen", Listen),
    ("tls", Tls),
    ("sms", Sms),
    ("web", Web),
    ("store", StoreSettings),
    ("bus", BusSettings),
    ("node", NodeSettings),
    ("xmpp", XmppSettings),
    ("log", Log),
    ("limits", Limits),
    ("signup", SignupLimits),
    ("media", MediaSettings),
    ("alerts", AlertSettings),
    ("upgrade", UpgradeSettings),
    ("probe", ProbeSettings),
    ("traces", Traces),
    ("restart", Restart),
]


UNIT = re.compile(r"_(bytes|ms|us|s|mib|percent|days|per_s|per_minute|per_hour)(_max|_min)?$")
UNITS = {
    "bytes": "bytes",
    "ms": "milliseconds",
    "us": "microseconds",
    "s": "seconds",
    "mib": "MiB",
    "percent": "percent",
    "days": "days",
    "per_s": "a second",
    "per_minute": "a minute",
    "per_hour": "an hour",
}


class Key(NamedTuple):
    """section: "" for the top of the file. default: as TOML writes it. meaning: may be ""."""

    section: str
    name: str
    default: str
    unit: str
    meaning: str

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}" if self.section else self.name


def keys() -> Iterator[Key]:
    """Every key, in the order of the page."""
    for section, kind in SECTIONS:
        for field in msgspec.structs.fields(kind):
            if _shown(field):
                yield _key(section, kind, field)


def about(kind: type[msgspec.Struct]) -> str:
    """What the section is for: its type's docstring."""
    return inspect.cleandoc(kind.__doc__ or "")  # getdoc() would give the base class's


def document() -> str:
    parts = [INTRODUCTION]
    for name, kind in SECTIONS:
        parts.append(f"\n## {f'[{name}]' if name else 'Top of the file'}\n")
        if name and about(kind):
            parts.append(f"{about(kind)}\n")
        parts.append("| key | default | meaning |\n|---|---|---|")
        parts += [
            f"| `{key.name}` | `{key.default}` | {key.meaning} |"
            for key in keys()
            if key.section == name
        ]
    return "\n".join(parts) + "\n"


def example() -> str:
    """A whole file with every key as it is by default, each commented out."""
    lines = ["# Everything as it is without a file. Take the # away from what should be different."]
    section = ""
    for key in keys():
        if key.section != section:
            section = key.section
            kind = dict(SECTIONS)[section]
            lines += ["", *(f"# {line}".rstrip() for line in about(kind).splitlines())]
            lines.append(f"[{section}]")
        tail = ", ".join(filter(None, (key.unit, key.meaning)))
        lines.append(f"#{key.name} = {key.default}{f'  # {tail}' if tail else ''}")
    return "\n".join(lines) + "\n"


def _shown(field: Any) -> bool:
    return not isinstance(field.default, msgspec.Struct)


def _key(section: str, kind: type[msgspec.Struct], field: Any) -> Key:
    if field.default is not msgspec.NODEFAULT:
        default = field.default
    else:
        default = field.default_factory()
    return Key(
        section,
        field.name,
        _toml(default),
        _unit(field.name, default),
        _comment(kind, field.name),
    )


def _unit(name: str, default: Any) -> str:
    if isinstance(default, bool | str | dict):
        return ""
    found = UNIT.search(name)
    return UNITS[found.group(1)] if found else ""


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, dict):
        return "{}"
    return str(value)


def _comment(kind: type[msgspec.Struct], name: str) -> str:
    """What the comment beside the field says."""
    match = re.search(rf"^    {name}: [^#\n]*#(.*)$", inspect.getsource(kind), re.MULTILINE)
    return match.group(1).strip() if match else ""


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201
