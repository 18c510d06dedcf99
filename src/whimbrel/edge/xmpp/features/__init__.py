"""Every feature of XMPP, one file each. What is not listed here is not spoken."""

from whimbrel.edge.xmpp.feature import Feature
from whimbrel.edge.xmpp.features import (
    activity,
    blocking,
    carbons,
    core,
    disco,
    documents,
    management,
    registration,
    relays,
    roster,
    services,
)

FEATURES: tuple[Feature, ...] = (
    core.FEATURE,
    management.FEATURE,
    roster.FEATURE,
    relays.FEATURE,
    disco.FEATURE,
    carbons.FEATURE,
    activity.FEATURE,
    blocking.FEATURE,
    documents.FEATURE,
    registration.FEATURE,
    services.FEATURE,
)
