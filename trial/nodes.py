"""Nodes of one installation as processes of their own, over one PostgreSQL and one NATS.

Every node has a folder, free ports and a ready file of its own. stop() ends what start() began.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whimbrel.edge.certificate import self_signed

READY_S = 60.0
COMMAND = ("-m", "whimbrel.cli.main")


class TrialNode:
    """One `whimbrel serve`. kill(), pause(), resume(), stop(), and start() again.

    inside: what its command begins with, to run it in a network namespace (trial/faults/net.py).
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        config: str,
        host: str = "127.0.0.1",
        inside: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.host = host
        self.inside = inside
        self.folder = folder
        self.config = config
        self.ready: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def begin(self) -> None:
        """Start the process; wait_ready() tells when it serves."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "whimbrel.toml"
        file.write_text(self.config)
        told = self.folder / "ready.json"
        told.unlink(missing_ok=True)
        command = [*self.inside, sys.executable, *COMMAND, "serve", "--config", str(file)]
        command += ["--data", str(self.folder / "data"), "--ready-file", str(told)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait_ready(self) -> None:
        """Raises RuntimeError with the node's own words if it does not come up."""
        assert self.process is not None
        told = self.folder / "ready.json"
        end_s = time.monotonic() + READY_S
        while time.monotonic() < end_s and self.process.poll() is None:
            if told.exists():
                self.ready = json.loads(told.read_text())
                return
            time.sleep(0.02)
        words = self.log.read_text()[-800:]
        self.kill()
        raise RuntimeError(f"{self.name} did not start: {words}")

    def start(self) -> None:
        self.begin()
        self.wait_ready()

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9, as a machine dies."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM: it hands over and ends. Its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        if process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)
            os.kill(process.pid, number)
        return process.wait(READY_S)


Place = tuple[str, tuple[str, ...]]  # host, what a command there begins with
LOOPBACK: Place = ("127.0.0.1", ())


class Trial:
    """`count` nodes. ports: 0 for free ones everywhere, else what a name of [listen] begins at.
    places: one for each node, if not all on loopback.
    """

    def __init__(
        self,
        folder: Path,
        store_url: str,
        bus_url: str,
        count: int = 3,
        more: str = "",
        ports: Mapping[str, int] | None = None,
        places: Sequence[Place] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = self_signed(folder, "localhost")
        self.folder = folder
        self.nodes: list[TrialNode] = []
        for number in range(count):
            listen = {
                name: (ports[name] + number if ports and name in ports else 0)
                for name in ("native", "native_plain", "https", "http", "xmpp", "xmpp_tls")
            }
            host, inside = places[number] if places else LOOPBACK
            config = (
                f'domain = "localhost"\n[listen]\nhost = "{host}"\nplain_host = "{host}"\n'
                + "".join(f"{name} = {port}\n" for name, port in listen.items())
                + f'[tls]\ncertificate = "{certificate}"\nkey = "{key}"\n'
                + f'[store]\nurl = "{store_url}"\nunsafe = true\n[bus]\nurl = "{bus_url}"\n'
                + f'[node]\nname = "node-{number}"\nmedia = "{folder}/media"\n'
                + '[log]\nformat = "json"\nlevel = "info"\n'
                + more
            )
            name = f"node-{number}"
            self.nodes.append(TrialNode(name, folder / name, config, host, inside))

    def start(self) -> "Trial":
        try:
            for node in self.nodes:
                node.begin()
            for node in self.nodes:
                node.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
