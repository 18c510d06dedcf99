"""What an operator may set for XMPP."""

import msgspec

from whimbrel.domain.discreet import discreet


class XmppSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section [xmpp] of the configuration."""

    tls_required: bool = True  # nothing before STARTTLS
    registration: bool = False  # may strangers make accounts by name (XEP-0077)?
    admins: tuple[str, ...] = ()  # accounts that may use the commands of XEP-0133
    contacts: dict[str, tuple[str, ...]] = {}  # XEP-0157: {"abuse" = ["mailto:..."]}
    services: tuple[dict[str, str], ...] = ()  # XEP-0215: [{type = "turn", host = "..."}]
    upload_base: str = ""  # address under which clients reach files; "": of the HTTPS port
    __repr__ = discreet
