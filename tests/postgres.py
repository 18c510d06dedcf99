"""A PostgreSQL of the tests' own: Debian's binaries, a temporary folder, a free port.

One server per test session and worker (`server()`), one database per test (`fresh_database`).
PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`. Where its binaries are
not to be had, tests are skipped and say so; under CI=true that is a failure.
"""

import asyncio
import atexit
import contextlib
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from whimbrel.storage.postgres.connections import connect
from whimbrel.storage.postgres.schema import migrate

_NAMES = itertools.count(1)
_TABLES = ("account", "device", "sent", "inbox", "pair", "roster", "document", "archive",
           "signup", "counter", "dead_letter", "node", "secret",
           "upload", "confirmed", "act")  # fmt: skip
_EMPTY = f"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid();
{" ".join(f"DELETE FROM {table};" for table in _TABLES)}
UPDATE shard SET owner = NULL, epoch = 0 WHERE owner IS NOT NULL OR epoch <> 0;
UPDATE meta SET era = 1; DROP TABLE IF EXISTS moving"""
_used: list[str] = []  # databases that were given back, empty
START_S_MAX = 60.0

# fsync: tests kill processes, never the kernel, which keeps what was written.
_CONF = """
fsync = off
listen_addresses = '127.0.0.1'
max_connections = 100
shared_buffers = 64MB
log_min_messages = warning
log_line_prefix = '%m %p '
max_wal_size = 512MB
wal_level = replica
max_wal_senders = 4
autovacuum_naptime = 1
"""


def binaries() -> Path | None:
    """The folder that holds initdb and postgres, the newest if there are several."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _version(path: Path) -> int:
    name = path.parts[-3]
    return int(name) if name.isdigit() else 0


def _tool(name: str) -> Path:
    folder = binaries()
    assert folder is not None, "see require()"
    return folder / name


def missing() -> str:
    """Why there is no PostgreSQL here, or ""."""
    if binaries() is None:
        return "PostgreSQL's binaries are not installed (apt-get install postgresql-15)"
    if os.geteuid() == 0 and (_account() is None or not shutil.which("setpriv")):
        return "PostgreSQL does not run as root, and there is no other user to run it as"
    return ""


def _account() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def require() -> None:
    """Skip the test, or fail it under CI."""
    why = missing()
    if why and os.environ.get("CI") == "true":
        pytest.fail(why)
    if why:
        pytest.skip(why)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class PostgresServer:
    """Made by make(); start() and stop() as often as a test wants; remove() at the end.

    inside: what its commands begin with, to run it in a network namespace, where `host` is.
    """

    def __init__(
        self, folder: Path, port: int, host: str = "127.0.0.1", inside: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder
        self.port = port
        self.host = host
        self.inside = inside
        self.data = folder / "data"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def make(
        cls, settings: str = "", host: str = "127.0.0.1", inside: tuple[str, ...] = ()
    ) -> "PostgresServer":
        folder = Path(tempfile.mkdtemp(prefix="whimbrel-pg-"))
        server = cls(folder, free_port(), host, inside)
        server._own(server.folder)
        server.run("initdb", "-D", str(server.data), "-A", "trust", "-U", "whimbrel", "-E", "UTF8",
                   "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        server.configure(_CONF + settings)
        return server

    def copy(self, settings: str = "") -> "PostgresServer":
        """A standby of this running server, by pg_basebackup; not started yet."""
        folder = Path(tempfile.mkdtemp(prefix="whimbrel-pg-"))
        other = PostgresServer(folder, free_port(), self.host, self.inside)
        other._own(other.folder)
        other.run("pg_basebackup", "-D", str(other.data), "-R", "-c", "fast", "--no-sync",
                  "-d", f"{self.url('postgres')}?application_name=standby")  # fmt: skip
        other.configure(settings)
        return other

    def configure(self, text: str) -> None:
        """Append settings; they count from the next start or reload."""
        with open(self.data / "postgresql.conf", "a") as file:
            file.write(text + "\n")

    def url(self, database: str) -> str:
        return f"postgresql://whimbrel@{self.host}:{self.port}/{database}"

    def start(self) -> "PostgresServer":
        assert self.process is None, "it runs already"
        command = [str(_tool("postgres")), "-D", str(self.data), "-p", str(self.port),
                   "-k", str(self.folder)]  # fmt: skip
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.inside, *_as_other("--pdeathsig=INT"), *command],
                stdout=log,
                stderr=log,
                cwd="/",
            )
        self._wait_until_up()
        return self

    def _wait_until_up(self) -> None:
        assert self.process is not None
        ready = ["pg_isready", "-q", "-h", self.host, "-p", str(self.port), "-t", "1"]
        pause = threading.Event()
        for _ in range(int(START_S_MAX / 0.05)):
            if self.process.poll() is not None:
                break
            if self.run(*ready, check=False) in (0, 1) and self._answers():
                return
            pause.wait(0.05)
        raise AssertionError(f"PostgreSQL did not start: {self.log.read_text()[-2_000:]}")

    def _answers(self) -> bool:
        return self.run("pg_isready", "-q", "-h", self.host, "-p", str(self.port), check=False) == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast; SIGQUIT: as if it had crashed."""
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(how)
            process.wait(START_S_MAX)

    def kill(self) -> None:
        """kill -9 of the postmaster and all its children, as a machine would do that loses power
        (but for the caches of its kernel).
        """
        process, self.process = self.process, None
        assert process is not None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        process.wait(START_S_MAX)

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, tool: str, *arguments: str, check: bool = True) -> int:
        """One of PostgreSQL's tools, as the user that the server runs as."""
        done = subprocess.run(
            [*self.inside, *_as_other(), str(_tool(tool)), *arguments], capture_output=True, cwd="/"
        )
        if check and done.returncode:
            raise AssertionError(f"{tool}: {done.stderr.decode()[-2_000:]}")
        return done.returncode

    def _own(self, path: Path) -> None:
        account = _account()
        if os.geteuid() == 0 and account is not None:
            os.chown(path, account.pw_uid, account.pw_gid)


def _as_other(*options: str) -> list[str]:
    account = _account()
    if os.geteuid() != 0 or account is None:
        return ["setpriv", *options] if options and shutil.which("setpriv") else []
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}",
            "--clear-groups", *options]  # fmt: skip


@functools.cache
def server() -> PostgresServer:
    """The one of this process; it ends with it."""
    made = PostgresServer.make().start()
    atexit.register(made.remove)
    return made


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """From synchronous code, also while a loop runs here: on a thread of its own."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(coroutine)))
    thread.start()
    thread.join()
    return results[0]


@functools.cache
def _template() -> str:
    """A database with today's tables, to be copied: making them takes ten times as long."""
    run(_execute(server().url("postgres"), "CREATE DATABASE whimbrel_template"))
    run(_migrate(server().url("whimbrel_template")))
    return "whimbrel_template"


def fresh_database(*, tables: bool = True) -> str:
    """The address of a database of its own, with or without Whimbrel's tables."""
    require()
    if tables and _used:
        return _used.pop()
    name = f"t{next(_NAMES)}"
    template = _template() if tables else "template0"
    run(_execute(server().url("postgres"), f'CREATE DATABASE "{name}" TEMPLATE {template}'))
    return server().url(name)


def give_back(url: str) -> None:
    """Empty it for the next test: ten times faster than to make another one."""
    run(_execute(url, _EMPTY))
    _used.append(url)


def drop_database(url: str) -> None:
    name = url.rpartition("/")[2]
    run(_execute(server().url("postgres"), f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _migrate(url: str) -> None:
    db = await connect(url)
    await migrate(db, url)
    await db.close()


def database_of(own: PostgresServer, name: str) -> str:
    """One on another server than the session's, with tables."""
    run(_execute(own.url("postgres"), f'CREATE DATABASE "{name}"'))
    run(_migrate(own.url(name)))
    return own.url(name)


async def _execute(url: str, statement: str) -> None:
    db = await asyncpg.connect(url)
    try:
        await db.execute(statement)
    finally:
        await db.close()
