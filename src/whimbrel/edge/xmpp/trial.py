"""Two tables of XMPP features at once: a share of the accounts is served by the new one.

The tables are looked up at every stanza, so a stream has the new features from its next stanza
on, and keeps its connection, its session and what it has asked for. Where a new handler
raises what is no refusal, its account gets the old table back, and the old handler answers if
nobody has.
"""

from collections.abc import Callable, Sequence
from typing import Any

from whimbrel.domain.errors import Refused
from whimbrel.edge.xmpp.feature import Feature, Iq
from whimbrel.edge.xmpp.hub import Hub
from whimbrel.edge.xmpp.tables import Tables
from whimbrel.protocol.sasl.failures import SaslFailure
from whimbrel.protocol.xmpp.errors import StreamError

SAID = (Refused, StreamError, SaslFailure)  # how a handler says no
Handler = Callable[[Any, Any], None]
Time = Callable[[str, bool, int], None]  # (what, new?, CPU in ns)


class FeatureTrial:
    """takes_part(account): has it the new table? failed(what): a new handler raised."""

    def __init__(
        self,
        hub: Hub,
        features: Sequence[Feature],
        takes_part: Callable[[int], bool],
        failed: Callable[[str], None],
        cpu_ns: Callable[[], int],
        time: Time,
    ) -> None:
        self._hub = hub
        self._takes_part = takes_part
        self._failed = failed
        self._cpu_ns = cpu_ns
        self._time = time
        self._pinned: set[int] = set()
        self.old = hub.tables
        self.new = hub.tables_of(features)
        hub.tables = self._both(self.old)

    def all(self) -> None:
        """Discovery and what is offered come from the new ones as well."""
        self._hub.tables = self._both(self.new)

    def end(self, won: bool) -> None:
        self._hub.tables = self.new if won else self.old

    def _both(self, shown: Tables) -> Tables:
        old, new = self.old, self.new
        return shown.like(
            iqs=self._merged(old.iqs, new.iqs),
            nonzas=self._merged(old.nonzas, new.nonzas),
            early=self._merged(old.early, new.early),
            answers=self._merged(old.answers, new.answers),
        )

    def _merged(self, old: dict[Any, Handler], new: dict[Any, Handler]) -> dict[Any, Handler]:
        return {
            key: self._split(_label(key), old[key], new[key])
            if key in old and key in new
            else new.get(key) or old[key]
            for key in old.keys() | new.keys()
        }

    def _split(self, what: str, old: Handler, new: Handler) -> Handler:
        def timed(call: Handler, is_new: bool, session: Any, came: Any) -> None:
            began_ns = self._cpu_ns()
            call(session, came)
            self._time(what, is_new, self._cpu_ns() - began_ns)

        def serve(session: Any, came: Any) -> None:
            account: int = session.account
            if account in self._pinned or not self._takes_part(account):
                timed(old, False, session, came)
                return
            try:
                timed(new, True, session, came)
            except SAID:
                raise
            except Exception as error:
                self._pinned.add(account)
                self._failed(f"{what}: {type(error).__name__}")
                if not (isinstance(came, Iq) and came.answered):
                    old(session, came)

        return serve


def _label(key: object) -> str:
    if isinstance(key, type):
        return f"XMPP {key.__name__}"
    return f"XMPP {' '.join(map(str, key)) if isinstance(key, tuple) else key}"
