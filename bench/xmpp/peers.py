"""The servers, each started as its package comes, in a folder of its own, and ended with it.

Whimbrel with its embedded store (every message fsynced); ejabberd with Mnesia and Prosody with its
files, as their Debian packages set them up, plus what the load needs: direct TLS, in-band
registration without a pause, no limits of rate.
"""

import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from bench import accounts
from bench.server import Server
from whimbrel.edge.certificate import self_signed

PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory_kib(pid: int) -> int:
    """Proportional memory of a process."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


class Peer(Protocol):
    """One running server. `registers`: accounts are made in band."""

    name: str
    port: int
    plain_port: int
    pid: int
    registers: bool

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def user(self, n: int) -> tuple[str, str]: ...


class Whimbrel:
    name = "whimbrel"
    registers = False

    def __init__(self, count: int) -> None:
        self._count = count
        self._server: Server | None = None
        self.port = self.plain_port = self.pid = 0

    def start(self) -> None:
        if self._server is None:
            self._server = Server(Path(tempfile.mkdtemp(prefix="bench-xmpp-")))
            limits = "[limits]\nnew_contacts_per_hour = 100000\nbytes_per_s = 100000000\n"
            self._server.limits = limits
            accounts.create(self._server.data, self._count, xmpp=True)
        self._server.start()
        self.port = int(self._server.ready["xmpp_tls"])
        self.plain_port = int(self._server.ready["xmpp_plain"])
        self.pid = self._server.pid

    def stop(self) -> None:
        assert self._server is not None
        self._server.stop()

    def kill(self) -> None:
        assert self._server is not None
        assert self._server.process is not None
        self._server.process.kill()
        self._server.process.wait()

    def user(self, n: int) -> tuple[str, str]:
        return accounts.address_of(n), accounts.key_of(n)

    def clean(self) -> None:
        if self._server is not None:
            shutil.rmtree(self._server.folder, ignore_errors=True)


class _Foreign(ABC):
    registers = True
    name = ""
    program = ""
    user_name: str | None = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-"))
        self.port, self.plain_port = free_port(), free_port()
        self.pid = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.pem = self.folder / "both.pem"
        certificate, key = self_signed(self.folder, "localhost")
        self.pem.write_text(key.read_text() + certificate.read_text())
        self.configure()

    @abstractmethod
    def configure(self) -> None: ...

    @abstractmethod
    def command(self) -> list[str]: ...

    def start(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
        with open(self.folder / "terminal.log", "ab") as said:
            self.process = subprocess.Popen(
                self.command(),
                stdout=said,
                stderr=said,
                start_new_session=True,
                user=self.user_name if os.getuid() == 0 else None,
                env={**os.environ, "HOME": str(self.folder), "USER": self.user_name or "root"},
            )
        end = time.monotonic() + PATIENCE_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            if time.monotonic() > end or self.process.poll() is not None:
                said_last = (self.folder / "terminal.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start: {said_last}")
            time.sleep(0.1)
        self.pid = self._find()

    def _find(self) -> int:
        """The process that serves: it may be a child of a shell."""
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                said = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                if self.program.encode() in said and str(self.folder).encode() in said:
                    name = (entry / "comm").read_text().strip()
                    if name.startswith(("beam", "lua", "prosody")):
                        return int(entry.name)
        raise RuntimeError(f"{self.name}: its process is not found")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: int) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.kill(self.pid, how)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def user(self, n: int) -> tuple[str, str]:
        return f"user{n}", f"password-{n}"

    def clean(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _give_to(self, user: str) -> None:
        who = pwd.getpwnam(user)
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, who.pw_uid, who.pw_gid)


class Ejabberd(_Foreign):
    name = "ejabberd"
    program = "beam"
    user_name = "ejabberd"

    def configure(self) -> None:
        for part in ("spool", "logs"):
            (self.folder / part).mkdir()
        (self.folder / "ejabberd.yml").write_text(
            EJABBERD.format(pem=self.pem, port=self.port, plain=self.plain_port)
        )
        if os.getuid() == 0:
            self._give_to("ejabberd")

    def command(self) -> list[str]:
        node = f"bench{self.port}@localhost"
        return [
            "/usr/sbin/ejabberdctl",
            "--node", node,
            "--config-dir", str(self.folder),
            "--config", str(self.folder / "ejabberd.yml"),
            "--logs", str(self.folder / "logs"),
            "--spool", str(self.folder / "spool"),
            "foreground",
        ]  # fmt: skip


EJABBERD = """\
hosts: [localhost]
loglevel: warning
certfiles: ["{pem}"]
auth_password_format: scram
registration_timeout: infinity
listen:
  - {{port: {port}, ip: "127.0.0.1", module: ejabberd_c2s, max_stanza_size: 262144, shaper: none,
      access: c2s, tls: true}}
  - {{port: {plain}, ip: "127.0.0.1", module: ejabberd_c2s, max_stanza_size: 262144, shaper: none,
      access: c2s}}
acl: {{local: {{user_regexp: ""}}}}
access_rules:
  c2s: {{allow: all}}
  register: {{allow: all}}
  local: {{allow: local}}
  trusted_network: {{allow: all}}
shaper_rules: {{max_user_sessions: 10, max_user_offline_messages: 5000, c2s_shaper: none}}
modules:
  mod_disco: {{}}
  mod_offline: {{access_max_user_messages: max_user_offline_messages}}
  mod_ping: {{}}
  mod_register: {{ip_access: trusted_network, access: register}}
  mod_roster: {{versioning: true}}
  mod_carboncopy: {{}}
  mod_stream_mgmt: {{resend_on_timeout: if_offline}}
"""


class Prosody(_Foreign):
    name = "prosody"
    program = "prosody"

    def configure(self) -> None:
        (self.folder / "data").mkdir()
        run = "run_as_root = true" if os.getuid() == 0 else ""
        (self.folder / "prosody.cfg.lua").write_text(
            PROSODY.format(folder=self.folder, run=run, port=self.port, plain=self.plain_port)
        )

    def command(self) -> list[str]:
        return ["prosody", "-F", "--config", str(self.folder / "prosody.cfg.lua")]


PROSODY = """\
{run}
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
network_backend = "epoll"
modules_enabled = {{ "roster"; "saslauth"; "tls"; "disco"; "carbons"; "smacks"; "ping"; "register";
  "offline"; "time"; "version"; "limits"; }}
modules_disabled = {{ "s2s"; }}
allow_registration = true
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_hashed"
storage = "internal"
c2s_interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {plain} }}
c2s_direct_tls_interfaces = {{ "127.0.0.1" }}
c2s_direct_tls_ports = {{ {port} }}
limits = {{ }}
log = {{ warn = "{folder}/prosody.log" }}
ssl = {{ certificate = "{folder}/certificate.pem"; key = "{folder}/certificate-key.pem"; }}
c2s_direct_tls_ssl = {{ certificate = "{folder}/certificate.pem";
  key = "{folder}/certificate-key.pem"; }}
VirtualHost "localhost"
"""


@contextmanager
def running(peer: Whimbrel | _Foreign) -> Iterator[Whimbrel | _Foreign]:
    try:
        peer.start()
        yield peer
    finally:
        with suppress(Exception):
            peer.stop()
        peer.clean()


def present(program: str) -> bool:
    return shutil.which(program) is not None
