"""Every feature of XMPP, one file each. What is not listed here is not spoken."""

from whimbrel.domain.limits import Limits
from whimbrel.edge.xmpp.feature import Feature
from whimbrel.edge.xmpp.features import (
    activity,
    archive,
    blocking,
    carbons,
    commands,
    core,
    disco,
    documents,
    management,
    push,
    registration,
    relays,
    roster,
    sasl2,
    services,
    upload,
)

FEATURES: tuple[Feature, ...] = (
    core.FEATURE,
    sasl2.FEATURE,
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
    upload.FEATURE,
    push.FEATURE,
    commands.FEATURE,
)

ALL: tuple[Feature, ...] = (*FEATURES, archive.FEATURE)


def features_for(limits: Limits) -> tuple[Feature, ...]:
    """What this configuration speaks: an archive only where something is kept."""
    return ALL if limits.archive_s else FEATURES
