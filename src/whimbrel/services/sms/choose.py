"""From the configuration's [sms] to a sender. A mistake names its key and says what to write.

Options stand under [sms.options]; each sender knows its own, and an unknown one is refused, so
that a misspelt key is never silently ignored.
"""

from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
from msgspec import Meta

from whimbrel.domain.discreet import discreet
from whimbrel.domain.ports import PinSender
from whimbrel.services.sms.console import ConsoleSender
from whimbrel.services.sms.delivery import Delivery
from whimbrel.services.sms.file import FileSender
from whimbrel.services.sms.twilio import API, TwilioSender
from whimbrel.services.sms.webhook import WebhookSender, escape_for, fill

TEXT = "Your code is {pin}. Do not give it to anyone."
METHODS = ("POST", "PUT", "GET")


class SmsConfigError(ValueError):
    """Says which key is wrong and what it wants."""


class SmsConfig(Protocol):
    """What is read of the configuration: the sender's name and its options."""

    @property
    def sender(self) -> str: ...

    @property
    def options(self) -> dict[str, Any]: ...


Word = Annotated[str, Meta(min_length=1)]


class ConsoleOptions(msgspec.Struct, forbid_unknown_fields=True):
    """None."""


class FileOptions(msgspec.Struct, forbid_unknown_fields=True):
    path: Word


class TwilioOptions(msgspec.Struct, forbid_unknown_fields=True, rename={"sender": "from"}):
    account_sid: Word
    auth_token: Word
    sender: Word
    text: str = TEXT
    api: Word = API
    __repr__ = discreet


class WebhookOptions(msgspec.Struct, forbid_unknown_fields=True):
    url: Word
    method: str = "POST"
    headers: dict[str, str] = msgspec.field(
        default_factory=lambda: {"Content-Type": "application/json"}
    )
    body: str = '{"to": "{number}", "text": "{text}"}'
    text: str = TEXT
    success: tuple[Annotated[int, Meta(ge=100, le=599)], ...] = (200, 201, 202, 204)
    __repr__ = discreet


Options = TypeVar("Options")


def make_sender(config: SmsConfig) -> PinSender:
    """The sender that the configuration names. Raises SmsConfigError."""
    make = _SENDERS.get(config.sender)
    if make is None:
        raise SmsConfigError(f"sms.sender: write one of {', '.join(sorted(_SENDERS))}")
    return make(config.options)


def _read(options: dict[str, Any], kind: type[Options]) -> Options:
    try:
        return msgspec.convert(options, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        key = f"sms.options.{where.rstrip('`')}" if where else "sms.options"
        raise SmsConfigError(f"{key}: {what}") from None


def _check_text(text: str) -> None:
    if "{pin}" not in text:
        raise SmsConfigError("sms.options.text: write {pin} where the PIN shall stand")


def _check_url(key: str, url: str) -> None:
    if not url.startswith(("https://", "http://")):
        raise SmsConfigError(f"sms.options.{key}: write an address that begins with https://")


def _console(options: dict[str, Any]) -> PinSender:
    _read(options, ConsoleOptions)
    return ConsoleSender()


def _file(options: dict[str, Any]) -> PinSender:
    return FileSender(Path(_read(options, FileOptions).path))


def _twilio(options: dict[str, Any]) -> PinSender:
    o = _read(options, TwilioOptions)
    _check_text(o.text)
    _check_url("api", o.api)
    if not o.account_sid.isalnum():
        raise SmsConfigError("sms.options.account_sid: write letters and digits, like AC0123...")
    if not o.sender.startswith(("+", "MG")):
        raise SmsConfigError('sms.options.from: write a number like "+15551234567" or "MG..."')
    return TwilioSender(o.account_sid, o.auth_token, o.sender, o.text, Delivery(), o.api)


def _webhook(options: dict[str, Any]) -> PinSender:
    o = _read(options, WebhookOptions)
    _check_url("url", o.url)
    if o.method not in METHODS:
        raise SmsConfigError(f"sms.options.method: write one of {', '.join(METHODS)}")
    if not any(name in o.url + o.body for name in ("{pin}", "{text}")):
        raise SmsConfigError("sms.options.body: write {pin} or {text} where it shall stand")
    if not any("{number}" in part for part in (o.url, o.body)):
        raise SmsConfigError("sms.options.body: write {number} where the number shall stand")
    _check_text(o.text)
    if not o.success:
        raise SmsConfigError("sms.options.success: write the statuses that mean yes, like [200]")
    _check_json(o)
    return WebhookSender(
        o.method, o.url, o.headers, o.body, o.text, frozenset(o.success), Delivery()
    )


def _check_json(o: WebhookOptions) -> None:
    """A template that is not JSON once it is filled would fail with the first PIN only."""
    kind = {name.lower(): value for name, value in o.headers.items()}.get("content-type", "")
    escape = escape_for(kind)
    if "json" not in kind.lower() or not o.body:
        return
    values = {"number": "+15551234567", "pin": "12345", "text": 'a "quoted" text'}
    try:
        msgspec.json.decode(fill(o.body, {name: escape(value) for name, value in values.items()}))
    except msgspec.DecodeError:
        raise SmsConfigError("sms.options.body: this is not JSON once it is filled") from None


_SENDERS = {"console": _console, "file": _file, "twilio": _twilio, "webhook": _webhook}
