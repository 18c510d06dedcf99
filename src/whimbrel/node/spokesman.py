"""Who speaks for the server: the probe, and alerts as messages to administrators.

One node alone does. Among several it is the one with the lowest number of those that are alive: the
server's own accounts have one key each, and nobody wants an alert once a node. When that node goes,
the next one begins within a second of hearing so, and tells again what is wrong then.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from whimbrel.domain.ids import PROBES, account_number
from whimbrel.domain.messages import ForgetArchive, ForgetLedger
from whimbrel.node.alerts import Alert
from whimbrel.node.chatter import NAME, Chatter
from whimbrel.node.inner import InnerClient
from whimbrel.node.probe import Place, Probe

if TYPE_CHECKING:
    from whimbrel.node.assemble import Node

log = structlog.get_logger("whimbrel.node")


class Spokesman:
    """every_second() looks whose turn it is; stop() ends it for good."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._chatter: Chatter | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self.speaks = False

    def every_second(self) -> None:
        others = self._node.others
        is_ours = others is None or others.is_first
        if is_ours == self.speaks:
            return
        self.speaks = is_ours
        if others is not None:
            log.info("speaks for the server" if is_ours else "another node speaks for the server")
        if is_ours:
            self._begin()
        else:
            task = asyncio.ensure_future(self._end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def tell(self, alert: Alert) -> None:
        """An alert of this node, to the accounts of alerts.accounts."""
        if self._chatter is not None:
            self._chatter.tell(alert)

    def _begin(self) -> None:
        node = self._node
        if node.config.alerts.accounts:
            self._chatter = self.open_teller(node.config.alerts.accounts)
            for alert in node.monitor.board.active if node.others is not None else ():
                self._chatter.tell(alert)
        if node.config.probe.on and "native" in node.ports:
            node.probe = Probe(
                node.config.probe, node.house, node.monitor.probed, self._place, self._probed
            )
            node.probe.start()

    def open_teller(self, accounts: Sequence[str]) -> Chatter:
        """Whoever tells these accounts, as "whimbrel"."""
        node = self._node
        chatter = Chatter(
            accounts,
            node.config.domain,
            lambda to, text: teller.send(to, text),
            node.loop.call_later,
            node.loop.time,
        )
        teller = node.teller = InnerClient(
            node.listener,
            NAME,
            lambda: node.house.keys(NAME),
            chatter.stored,
            chatter.delivered,
            chatter.refused,
        )
        teller.connect()
        return chatter

    async def _end(self) -> None:
        node = self._node
        self._chatter = None
        teller, node.teller = node.teller, None
        if teller is not None:
            teller.close()
        probe, node.probe = node.probe, None
        if probe is not None:
            await probe.stop()

    async def stop(self) -> None:
        self.speaks = False
        await self._end()
        await asyncio.gather(*self._ending)

    def _place(self) -> Place:
        node = self._node
        host = node.config.probe.host or node.config.listen.host
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return Place(host, node.ports["native"], node.certificate.fingerprint)

    def _probed(self) -> None:
        """A probe has ended: what is final of its messages is forgotten at once."""
        node = self._node
        now_us = node.clock.now_us()
        for name in PROBES:
            node.router.tell(account_number(name), ForgetLedger(now_us))
            node.router.tell(account_number(name), ForgetArchive(now_us))
