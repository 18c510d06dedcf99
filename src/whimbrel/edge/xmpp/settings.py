"""What an operator may set for XMPP."""

import re

import msgspec

from whimbrel.domain.discreet import discreet


class XmppSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section [xmpp] of the configuration."""

    tls_required: bool = True  # nothing before STARTTLS
    registration: bool = False  # may strangers make accounts by name (XEP-0077)?
    admins: tuple[str, ...] = ()  # accounts that may use the commands of XEP-0133
    contacts: dict[str, tuple[str, ...]] = {}  # XEP-0157: {"abuse" = ["mailto:..."]}
    services: tuple[dict[str, str], ...] = ()  # XEP-0215: [{type = "turn", host = "..."}]
    components: dict[str, str] = {}  # XEP-0114: {"echo.example.org" = "its secret"}
    upload_base: str = ""  # address under which clients reach files; "": of the HTTPS port
    __repr__ = discreet

    def mistake(self, domain: str) -> str:
        """What is wrong with it, or ""."""
        for name, secret in self.components.items():
            if not _DOMAIN.fullmatch(name) or name in (domain, f"upload.{domain}"):
                return (
                    f"components: {name} cannot be one; write a domain of its own, like"
                    f' "echo.{domain}"'
                )
            if len(secret) < SECRET_CHARS_MIN:
                return (
                    f"components.{name}: write a secret of at least {SECRET_CHARS_MIN} characters"
                )
        return ""


SECRET_CHARS_MIN = 16
_DOMAIN = re.compile(
    r"(?=.{1,250}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
)
