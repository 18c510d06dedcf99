"""What the features of XMPP registered, in one value, so that all of it changes at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from whimbrel.edge.xmpp.feature import Feature, IqHandler
from whimbrel.protocol.xmpp.element import Element


@dataclass(slots=True, kw_only=True)
class Tables:
    """The fields of Feature, gathered; the last four are filled by `begin` of the features."""

    features: tuple[Feature, ...]
    iqs: dict[tuple[str, str, str], IqHandler]
    nonzas: dict[str, Callable[[Any, Element], None]]
    early: dict[str, Callable[[Any, Element], None]]
    answers: dict[type, Callable[[Any, Any], None]]
    offers: list[Callable[[Any], list[Element]]]
    item_nodes: dict[str, IqHandler] = field(default_factory=dict)  # XEP-0030 section 4.2
    info_nodes: dict[str, IqHandler] = field(default_factory=dict)
    service_info: dict[str, Callable[[], list[Element]]] = field(default_factory=dict)  # by domain
    forms: list[Callable[[], list[Element]]] = field(default_factory=list)  # XEP-0128

    @classmethod
    def of(cls, features: Sequence[Feature]) -> "Tables":
        return cls(
            features=tuple(features),
            iqs={key: call for each in features for key, call in each.iqs.items()},
            nonzas={ns: call for each in features for ns, call in each.nonzas.items()},
            early={ns: call for each in features for ns, call in each.early.items()},
            answers={kind: call for each in features for kind, call in each.answers.items()},
            offers=[each.offers for each in features if each.offers is not None],
        )

    def like(self, **changes: Any) -> "Tables":
        return replace(self, **changes)
