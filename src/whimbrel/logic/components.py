"""Components (XEP-0114): programs beside the server that answer for a whole domain.

A component is an account with one client: its address is "@" and its domain, and what is sent to
any JID of that domain goes into its one inbox, under the same laws. Contacts at a component stand
in rosters by their JIDs ("bot@echo.example.org"); whatever is for them is told to the component.
"""

from whimbrel.domain.effects import Effect, Push
from whimbrel.domain.ids import account_number
from whimbrel.domain.im import PresenceCame, SubscriptionCame
from whimbrel.domain.user import User


def is_component(address: str) -> bool:
    return address.startswith("@")


def jid_at_component(address: str) -> str:
    """The address itself if it is a JID of another domain than the server's, else ""."""
    return address if "@" in address else ""


def home_of(peer: int, address: str) -> int:
    """The actor that is told what is for this contact."""
    local, at, domain = address.partition("@")
    return account_number(f"@{domain}") if at and local else peer


def show_component(user: User, came: PresenceCame | SubscriptionCame) -> list[Effect]:
    """It knows itself who may see what: everything passes."""
    return [Push(att.session, came) for att in user.attached.values()]
