"""Text messages: the port PinSender made real. choose.py picks one by its name.

Law: a PIN or a token never reaches a log or an error's text. Only the console sender shows
PINs, and only because the operator chose it.
"""

from dataclasses import dataclass
from typing import Any

from whimbrel.domain.discreet import discreet
from whimbrel.domain.ports import PinSender
from whimbrel.services.sms import choose


@dataclass(frozen=True, slots=True)
class _Chosen:
    sender: str
    options: dict[str, Any]
    __repr__ = discreet


def make_sender(name: str, options: dict[str, Any]) -> PinSender:
    """The sender of this name. Raises ValueError; its text begins with the key."""
    return choose.make_sender(_Chosen(name, options))
