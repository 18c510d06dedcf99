"""Choosing a sender of text messages: every mistake names its key; templates are safe."""

from types import SimpleNamespace
from typing import Any

import pytest

from whimbrel.domain.desk import SignupLimits
from whimbrel.services.sms.choose import SmsConfigError, make_sender
from whimbrel.services.sms.delivery import FIRST_WAIT_S, TRIES, TRY_S
from whimbrel.services.sms.webhook import escape_for, fill


def test_what_is_put_into_a_template_is_never_read_as_a_template() -> None:
    values = {"pin": "{number}", "number": "{pin}", "text": "{text}"}
    assert fill("{pin} {number} {other} {text}{", values) == "{number} {pin} {other} {text}{"
    assert escape_for("application/json")('a"\\\n') == 'a\\"\\\\\\n'
    assert escape_for("application/vnd.x+json")('"') == '\\"'


TWILIO = {"account_sid": "AC12", "auth_token": "t", "from": "+15551234567"}
HOOK = {"url": "https://sms.example/send"}


@pytest.mark.parametrize(
    ("sender", "options", "key"),
    [
        ("pigeon", {}, "sms.sender: write one of console, file, twilio, webhook"),
        ("console", {"colour": 1}, "sms.options: "),
        ("file", {}, "sms.options: Object missing required field `path`"),
        ("file", {"path": ""}, "sms.options.path: "),
        ("file", {"path": 5}, "sms.options.path: "),
        ("twilio", {"account_sid": "AC12"}, "sms.options: Object missing required field"),
        ("twilio", TWILIO | {"auth_token": ""}, "sms.options.auth_token: "),
        ("twilio", TWILIO | {"from": "me"}, "sms.options.from: "),
        ("twilio", TWILIO | {"account_sid": "AC/../x"}, "sms.options.account_sid: "),
        ("twilio", TWILIO | {"text": "Hello"}, "sms.options.text: write {pin}"),
        ("twilio", TWILIO | {"api": "ftp://x"}, "sms.options.api: "),
        ("webhook", {}, "sms.options: Object missing required field `url`"),
        ("webhook", {"url": "sms.example"}, "sms.options.url: "),
        ("webhook", HOOK | {"method": "BREW"}, "sms.options.method: "),
        ("webhook", HOOK | {"headers": {"A": 1}}, "sms.options.headers"),
        ("webhook", HOOK | {"body": '{"to": "{number}"}'}, "sms.options.body: write {pin}"),
        ("webhook", HOOK | {"body": '{"text": "{text}"}'}, "sms.options.body: write {number}"),
        ("webhook", HOOK | {"body": "{number}{text}"}, "sms.options.body: this is not JSON"),
        ("webhook", HOOK | {"success": []}, "sms.options.success: "),
        ("webhook", HOOK | {"success": [99]}, "sms.options.success"),
        ("webhook", HOOK | {"text": "Hello"}, "sms.options.text: "),
        ("webhook", HOOK | {"boddy": ""}, "sms.options: "),
    ],
)
def test_a_mistake_in_the_configuration_names_its_key(
    sender: str, options: dict[str, Any], key: str
) -> None:
    with pytest.raises(SmsConfigError) as mistake:
        make_sender(SimpleNamespace(sender=sender, options=options))
    assert str(mistake.value).startswith(key)


def test_good_configurations_make_their_senders() -> None:
    made = [
        make_sender(SimpleNamespace(sender=name, options=options))
        for name, options in (("twilio", TWILIO), ("webhook", HOOK))
    ]
    assert [sender.name for sender in made] == ["twilio", "webhook"]


def test_all_tries_end_before_a_number_may_ask_for_its_next_pin() -> None:
    """Else a failure would be booked on the PIN that came after it."""
    waits_s = sum(FIRST_WAIT_S * 2**turn for turn in range(TRIES - 1))
    assert TRIES * TRY_S + waits_s < SignupLimits().number_waits_s[0]
