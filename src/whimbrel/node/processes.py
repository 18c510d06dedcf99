"""`whimbrel serve --processes N`: so many nodes on this machine, behind the same ports.

The parent serves nobody. It starts the first child, which makes what is made once (tables,
secrets), then the others on the ports that the first one has (SO_REUSEPORT: the kernel spreads
connections). It passes on SIGTERM, starts again what has died, with growing pauses, and gives up
aloud when one dies again and again. Every child is a node like any other: a folder, a name and a
lease of its own; files that people send are in one folder for all.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import structlog
from msgspec.structs import replace

from whimbrel.domain.errors import Unready
from whimbrel.edge.certificate import self_signed
from whimbrel.node.assemble import make_folder
from whimbrel.node.config import Config, ConfigError
from whimbrel.node.secret_files import write_private

log = structlog.get_logger("whimbrel.node")

PROCESSES_MAX = 64
READY_S = 120.0
DEATHS_MAX = 5  # of one child within DEATHS_S, then all end
DEATHS_S = 60.0
PAUSE_S, PAUSE_MAX_S = 0.5, 10.0
STOP_S = 60.0
LOOK_S = 0.1
CHILD = "WHIMBREL_CHILD"  # what a child is told by its parent, as JSON


def check(config: Config, count: int) -> None:
    """Raises ConfigError with what to write."""
    if not 1 <= count <= PROCESSES_MAX:
        raise ConfigError(f"--processes: write a number from 1 to {PROCESSES_MAX}")
    if not config.store.url:
        raise ConfigError(
            "--processes: several processes share a PostgreSQL and a NATS; write\n"
            '[store]\nurl = "postgresql://USER:PASSWORD@HOST/DATABASE"\n'
            '[bus]\nurl = "nats://HOST:4222"'
        )


class Child:
    """One node, and what became of it."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.folder = folder / f"process-{number}"
        self.told = folder / f"process-{number}.ready.json"
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths: deque[float] = deque(maxlen=DEATHS_MAX)
        self.again_s = 0.0  # when it is started next

    def start(self, command: list[str], told: dict[str, Any]) -> None:
        self.told.unlink(missing_ok=True)
        environment = os.environ | {CHILD: json.dumps(told | {"number": self.number})}
        self.process = subprocess.Popen(
            [*command, "--data", str(self.folder), "--ready-file", str(self.told)], env=environment
        )

    @property
    def ready(self) -> dict[str, Any] | None:
        return json.loads(self.told.read_text()) if self.told.exists() else None

    def died(self) -> bool:
        """It has ended by itself: when to start it again. Raises Unready if that is too often."""
        process = self.process
        if process is None or process.poll() is None:
            return False
        now_s = time.monotonic()
        self.process = None
        self.deaths.append(now_s)
        pause_s = min(PAUSE_S * 2 ** (len(self.deaths) - 1), PAUSE_MAX_S)
        self.again_s = now_s + pause_s
        log.error("a process has died", process=self.number, code=process.returncode)
        if len(self.deaths) == DEATHS_MAX and now_s - self.deaths[0] < DEATHS_S:
            raise Unready(f"process {self.number} has died {DEATHS_MAX} times: giving up")
        return True


class Processes:
    """run() returns the exit code: 0 after SIGTERM, 1 when it gave up."""

    def __init__(
        self, config: Config, file: Path, folder: Path, ready_file: Path | None, count: int
    ) -> None:
        make_folder(folder)
        self.ready_file = ready_file
        self._command = [sys.executable, "-m", "whimbrel.cli.main", "serve", "--config", str(file)]
        tls = (config.tls.certificate, config.tls.key)
        if not tls[0]:
            made = self_signed(folder, config.domain)
            tls = (str(made[0]), str(made[1]))
        self._told: dict[str, Any] = {
            "certificate": tls[0],
            "key": tls[1],
            "media": config.node.media or str(folder),
            "name": config.node.name,
            "parent": os.getpid(),
            "ports": {},
        }
        self.children = [Child(number, folder) for number in range(count)]
        self._stopping = False

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            self._begin()
            while not self._stopping:
                self._look()
                time.sleep(LOOK_S)
        except Unready as error:
            print(f"whimbrel: {error}", file=sys.stderr)  # noqa: T201
            self._end()
            return 1
        return self._end()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _begin(self) -> None:
        first, others = self.children[0], self.children[1:]
        first.start(self._command, self._told)
        ready = self._wait(first)
        known = ("native", "native_plain", "xmpp", "xmpp_tls", "xmpp_plain", "xmpp_component")
        self._told["ports"] = {n: ready[n] for n in (*known, "https", "http") if n in ready}
        for child in others:
            child.start(self._command, self._told)
        for child in others:
            self._wait(child)
        if self.ready_file is not None and not self._stopping:
            pids = [child.process.pid for child in self.children if child.process is not None]
            facts = ready | {"pid": os.getpid(), "processes": pids}
            write_private(self.ready_file, json.dumps(facts))
        log.info("all processes are ready", processes=len(self.children), **self._told["ports"])

    def _wait(self, child: Child) -> dict[str, Any]:
        """Until it is ready. Raises Unready."""
        end_s = time.monotonic() + READY_S
        while not self._stopping and time.monotonic() < end_s:
            if (ready := child.ready) is not None:
                return ready
            if child.process is not None and child.process.poll() is not None:
                break
            time.sleep(LOOK_S)
        if self._stopping:
            return {}
        raise Unready(f"process {child.number} did not start")

    def _look(self) -> None:
        for child in self.children:
            child.died()
            if child.process is None and time.monotonic() >= child.again_s:
                child.start(self._command, self._told)

    def _end(self) -> int:
        """SIGTERM to all at once; they hand over to each other and end."""
        alive = [child.process for child in self.children if child.process is not None]
        for process in alive:
            process.terminate()
        end_s = time.monotonic() + STOP_S
        codes = []
        for process in alive:
            try:
                codes.append(process.wait(max(0.1, end_s - time.monotonic())))
            except subprocess.TimeoutExpired:
                process.kill()
                codes.append(process.wait())
        for child in self.children:
            child.told.unlink(missing_ok=True)
        if self.ready_file is not None:
            self.ready_file.unlink(missing_ok=True)
        return int(any(codes))


# ---- the child's side --------------------------------------------------------------------

PR_SET_PDEATHSIG = 1


def _inside(config: Config, told: dict[str, Any]) -> str:
    """A port of its own for each."""
    host, port = config.node.inside_place
    return f"{host}:{port + told['number'] if port else 0}"


def as_child(config: Config) -> Config | None:
    """This process as its parent wants it; None: it has no such parent."""
    text = os.environ.get(CHILD)
    if not text:
        return None
    told = json.loads(text)
    if sys.platform == "linux":  # a parent that is killed takes its children along
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != told["parent"]:
        raise SystemExit(1)
    name = f"{told['name'] or socket.gethostname() + ':' + config.data}/{told['number']}"
    return replace(
        config,
        listen=replace(config.listen, shared=True, **told["ports"]),
        tls=replace(config.tls, certificate=told["certificate"], key=told["key"]),
        node=replace(config.node, name=name, media=told["media"], inside=_inside(config, told)),
    )
