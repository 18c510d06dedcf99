"""The network: datagrams between nodes that get lost, doubled, late and out of order, and
connections between devices and nodes that keep their order until they break.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from sim.time import MS

if TYPE_CHECKING:
    from sim.client import XmppClient
    from sim.device import SimDevice
    from sim.node import SimNode
    from sim.world import SimWorld

UNSENT_MAX = 1 << 20


class Network:
    def __init__(self, world: "SimWorld", chance: Random) -> None:
        self.world = world
        self.chance = chance
        self.loss = 0.0
        self.twice = 0.0
        self.late = 0.0
        self.apart: set[frozenset[int]] = set()  # nodes that do not hear each other
        self.lost = 0
        self._last: dict[tuple[int, int], int] = defaultdict(int)  # arrival, by source and to

    def between(self, source: int, to: int, call: Callable[[], None], what: object) -> None:
        """One datagram from node to node; `call` runs at the other one, if it is up then."""
        chance = self.chance
        if frozenset((source, to)) in self.apart or chance.random() < self.loss:
            self.lost += 1
            self.world.story.add("lost", source, to, what)
            return
        copies = 2 if chance.random() < self.twice else 1
        now_us = self.world.time.now_us
        for _ in range(copies):
            if chance.random() < self.late:  # overtaken by others
                delay_us = chance.randrange(5_000 * MS)
            else:  # one connection from node to node keeps its order
                at_us = max(self._last[source, to], now_us + chance.randrange(200, 3 * MS))
                self._last[source, to] = at_us
                delay_us = at_us - now_us
            self.world.nodes[to].arrive(delay_us, call)

    def latency_us(self) -> int:
        return self.chance.randrange(500, 60 * MS)


class Line:
    """One connection of a device. The node's side of it is what a session calls its link."""

    def __init__(self, network: Network, device: "SimDevice | XmppClient", node: "SimNode") -> None:
        self.network = network
        self.device = device
        self.node = node
        self.incarnation = node.incarnation
        self.address = f"device-{device.name}"
        self.is_closed = False
        self.session: Any = None
        self.unsent_bytes_max = UNSENT_MAX
        self.stalled_until_us = 0  # the device reads nothing until then
        self.tls_version = ""
        self.peer_finished = False
        self._read_to_the_end = False
        self.deaf = False  # half open: the device went away without a word
        self._out: list[bytes] = []
        self._held: deque[bytes] = deque()  # read, while the session had paused reading
        self._draining = False
        self._paused = False
        self._unsent = 0
        self._to_node_us = self._to_device_us = 0  # the last arrival in each direction

    # ---- the session's side (edge.session.Link) ------------------------------------------

    def write(self, data: bytes) -> None:
        self._out.append(data)

    def flush(self) -> None:
        if not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        if not self.is_closed:
            self._unsent += len(data)
            self._carry_to_device(lambda: self._at_device(data))

    @property
    def unsent_bytes(self) -> int:
        return self._unsent

    @property
    def is_slow(self) -> bool:
        return self._unsent > self.unsent_bytes_max

    @property
    def has_unsent(self) -> bool:
        return self.is_slow

    def start_tls(self, context: object) -> None:
        raise NotImplementedError

    def channel_binding(self, kind: str) -> bytes | None:
        return None

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        if self._held and not self._draining:
            self._draining = True
            self.node.soon(self._drain)

    def _drain(self) -> None:
        """What had been read already, in its order, as long as the session takes it."""
        self._draining = False
        while self._held and not self._paused and not self.is_closed:
            self.session.received(self._held.popleft())

    def close(self, code: str = "") -> None:
        """What is written still arrives, then the end."""
        self.flush()
        if not self.is_closed:
            self._carry_to_device(self._end_at_device)
        self._node_side_ends()

    def finish(self) -> None:
        """What is written still arrives, then the end; the device closes when it has read it."""
        self.flush()
        if not self.is_closed:
            self._carry_to_device(self._finished_at_device)

    def abort(self) -> None:
        self._out.clear()
        self.close()

    # ---- the device's side ---------------------------------------------------------------

    def send(self, data: bytes) -> None:
        if not self.is_closed:
            self._carry_to_node(lambda: self._at_node(data))

    def hang_up(self, silently: bool) -> None:
        """The device leaves. Silently: the node finds out by its time-outs only."""
        self.deaf = True
        if not silently:
            polite = self._read_to_the_end
            self._carry_to_node(lambda: self._node_side_ends(polite))

    def cut(self) -> None:
        """The connection breaks; both ends learn it, each in its time."""
        self._carry_to_node(self._node_side_ends)
        self._carry_to_device(self._end_at_device)

    # ---- between -------------------------------------------------------------------------

    def _carry_to_node(self, call: Callable[[], None]) -> None:
        time = self.network.world.time
        self._to_node_us = max(self._to_node_us, time.now_us + self.network.latency_us())
        node, incarnation = self.node, self.incarnation
        time.at(self._to_node_us, lambda: node.if_still(incarnation, call))

    def _carry_to_device(self, call: Callable[[], None]) -> None:
        time = self.network.world.time
        at_us = time.now_us + self.network.latency_us()
        self._to_device_us = max(self._to_device_us, at_us, self.stalled_until_us)
        time.at(self._to_device_us, call)

    def _at_node(self, data: bytes) -> None:
        if self.is_closed:
            return
        if self._paused or self._held:
            self._held.append(data)
        else:
            self.session.received(data)

    def _at_device(self, data: bytes) -> None:
        self._unsent -= len(data)
        if not self.deaf:
            self.device.received(self, data)

    def _end_at_device(self) -> None:
        if not self.deaf:
            self.deaf = True
            self.device.disconnected(self)

    def _finished_at_device(self) -> None:
        if not self.deaf:
            self._read_to_the_end = True
            self.device.finished(self)

    def _node_side_ends(self, polite: bool = False) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.peer_finished = polite
            if self.session is not None:  # else: it broke before it was accepted
                self.session.closed()
