"""docs/configuration.md, made from the types: every key, its default, its meaning.

`python -m whimbrel.node.explain > docs/configuration.md`; a test checks that it is true.
"""

import inspect
import re
from typing import Any

import msgspec

from whimbrel.domain.desk import SignupLimits
from whimbrel.domain.limits import Limits
from whimbrel.domain.media import MediaSettings
from whimbrel.edge.xmpp.settings import XmppSettings
from whimbrel.node.alerts import AlertSettings
from whimbrel.node.config import Config, Listen, Log, Sms, Tls, Web
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
    ("xmpp", XmppSettings),
    ("log", Log),
    ("limits", Limits),
    ("signup", SignupLimits),
    ("media", MediaSettings),
    ("alerts", AlertSettings),
    ("upgrade", UpgradeSettings),
]


def document() -> str:
    parts = [INTRODUCTION]
    for name, kind in SECTIONS:
        parts.append(f"\n## {f'[{name}]' if name else 'Top of the file'}\n")
        about = inspect.cleandoc(kind.__doc__ or "")  # getdoc() would give the base class's
        if name and about:
            parts.append(f"{about}\n")
        parts.append("| key | default | meaning |\n|---|---|---|")
        parts += [_row(kind, field) for field in msgspec.structs.fields(kind) if _shown(field)]
    return "\n".join(parts) + "\n"


def _shown(field: Any) -> bool:
    return not isinstance(field.default, msgspec.Struct)


def _row(kind: type[msgspec.Struct], field: Any) -> str:
    if field.default is not msgspec.NODEFAULT:
        default = field.default
    else:
        default = field.default_factory()
    return f"| `{field.name}` | `{_toml(default)}` | {_comment(kind, field.name)} |"


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
