"""Where the parts of the stage live: each in a network namespace of its own, or all on loopback.

A place is an address and what a command begins with to run there (trial/nodes.py: Place). With
namespaces there are two networks: people reach nodes over a bridge (10.77.1.0/24), nodes reach
PostgreSQL, NATS and the runner over wires that can be cut (10.77.2.0/24, wires.py). Addresses and
devices exist only inside namespaces of this run; nothing of the machine's own network is touched.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from trial.faults.wires import DEVICE, MTU, Rule, enter
from trial.nodes import LOOPBACK, Place

END_S = 10.0
SERVICES = ("pg", "nats")


class Helper:
    """A process that carries what goes between the places: it gets a line and answers with one."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the runner, which ends this last
            cwd=Path(__file__).parents[2],
        )

    def answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("what carries between the parts has ended")
        return line.decode().strip()

    def ask(self, order: Any) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        self._process.kill()
        self._process.wait(END_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Net:
    """Everything on loopback, nodes reach services through relays (relays.py)."""

    loses_packets = False
    words = "on loopback, with relays between"

    def __init__(self) -> None:
        self._rules: dict[tuple[str, str], Rule] = {}
        self._helper: Helper | None = None

    def place(self, name: str) -> Place:
        return LOOPBACK

    def way(self, node: str, service: str, host: str, port: int) -> tuple[str, int]:
        """Where that node finds what a service listens on."""
        assert self._helper is not None
        return "127.0.0.1", int(self._helper.ask(["open", node, service, host, port]))

    def build(self) -> None:
        """Raises RuntimeError if it cannot be had."""
        self._helper = Helper("trial.faults.relays")

    def clear(self) -> None:
        """Nothing of it is left."""
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.end()

    def lose(self, part: float, ways: Iterable[tuple[str, str]], held_s: float = 0.0) -> None:
        """part (0..1) of the packets on these ways (from, to) is lost, the others are held back
        for held_s.
        """
        self._rules.update(dict.fromkeys(ways, (part, held_s)))
        self._tell()

    def heal(self) -> None:
        self._rules.clear()
        self._tell()

    def _tell(self) -> None:
        assert self._helper is not None
        self._helper.ask(["rules", [[*way, *rule] for way, rule in self._rules.items()]])


def why_not() -> str:
    """Why there can be no namespaces here; "" if there can."""
    if os.geteuid() != 0:
        return "not root"
    if not shutil.which("ip"):
        return "there is no ip (apt-get install iproute2)"
    return "" if os.path.exists("/dev/net/tun") else "there is no /dev/net/tun"


class Namespaces(Net):
    """One for each node, for PostgreSQL (both servers), for NATS, and `hub` for people.

    build() also moves the calling thread, and those it starts later, into `hub`.
    """

    loses_packets = True
    words = "each in a network namespace"

    def __init__(self, nodes: int) -> None:
        super().__init__()
        self.prefix = f"whf{os.getpid()}"
        self.nodes = [f"node{n}" for n in range(nodes)]
        names = ["hub", *self.nodes, *SERVICES]
        self._back = {name: f"10.77.2.{n + 1}" for n, name in enumerate(names)}
        self._front = {name: f"10.77.1.{n + 2}" for n, name in enumerate(self.nodes)}

    def place(self, name: str) -> Place:
        address = self._front.get(name) or self._back[name]
        return address, ("ip", "netns", "exec", self._space(name))

    def way(self, node: str, service: str, host: str, port: int) -> tuple[str, int]:
        return host, port

    def _space(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def build(self) -> None:
        for name in self._back:
            _ip("netns", "add", self._space(name))
            self._inside(name, "link set lo up")
        self._build_front()
        places = [f"{name}={address}" for name, address in self._back.items()]
        self._helper = Helper("trial.faults.wires", self.prefix, *places)
        self._helper.answer()
        for name, address in self._back.items():
            self._inside(name, f"link set {DEVICE} mtu {MTU} up")
            self._inside(name, f"addr add {address}/24 dev {DEVICE}")
        enter(self._space("hub"))

    def _build_front(self) -> None:
        """A bridge in `hub`, and a cable from it into each node."""
        self._inside("hub", "link add name front type bridge")
        self._inside("hub", "addr add 10.77.1.1/24 dev front")
        self._inside("hub", "link set front up")
        for name, address in self._front.items():
            there = self._space(name)
            self._inside("hub", f"link add name {name} type veth peer name front netns {there}")
            self._inside("hub", f"link set {name} master front up")
            self._inside(name, f"addr add {address}/24 dev front")
            self._inside(name, "link set front up")

    def _inside(self, name: str, command: str) -> None:
        _ip("-n", self._space(name), *command.split())

    def clear(self) -> None:
        super().clear()
        for name in self._back:
            with contextlib.suppress(RuntimeError):
                _ip("netns", "del", self._space(name))


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.decode().strip()}")
