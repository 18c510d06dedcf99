"""The configuration as it is shown: every key, and no text that nobody has said to be harmless."""

from typing import Any

import msgspec

from whimbrel.node.config import Config
from whimbrel.node.shown import SHOWN, shown

MARK = "s3cret-mark"


def marked(kind: Any) -> Any:
    """A section in which every text, list and table holds the mark."""
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        default = field.default if field.default is not msgspec.NODEFAULT else None
        if isinstance(default, msgspec.Struct):
            given[field.name] = marked(type(default))
        elif isinstance(default, str):
            given[field.name] = MARK
        elif isinstance(default, tuple) and not default:
            given[field.name] = (MARK,)
        elif isinstance(default, dict) or default is None:
            given[field.name] = {MARK: MARK}
    return kind(**given)


def test_no_text_is_shown_that_is_not_named_as_harmless() -> None:
    table = shown(marked(Config))
    assert {key for key, text in table.items() if MARK in text} <= SHOWN
    assert table["sms.options"] == table["alerts.webhook"] == table["xmpp.components"] == "(set)"
    assert table["domain"] == MARK


def test_every_key_is_there_with_its_value() -> None:
    table = shown(Config())
    assert table["limits.mailbox_max"] == str(Config().limits.mailbox_max)
    assert table["signup.number_waits_s"] == "60, 120, 300, 900, 3600"
    assert table["xmpp.tls_required"] == "true"
    assert table["alerts.webhook"] == ""
    assert table.keys() >= SHOWN
