"""`whimbrel serve` as an operator meets it: how it starts, refuses to start, and stops.

Everything here is the real command in a process of its own, on a data folder of its own.
"""

import asyncio
import ctypes
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import accounts
from bench.server import COMMAND, Server
from tests.node.company import Company
from tests.node.kill import kill
from whimbrel.client.trust import fetch_fingerprint, normal_fingerprint

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
FREE = (
    'domain = "chat.example.org"\n[listen]\nhost = "127.0.0.1"\n'
    "native = 0\nhttps = 0\nhttp = 0\nxmpp = 0\nxmpp_tls = 0\n[probe]\non = false\n"
)


def serve_and_end(folder: Path, config: str, *, mortal: bool = False) -> tuple[int, str]:
    """Run `serve` until it ends by itself: (exit code, what the terminal said).

    mortal: without root's right to write where nobody may write.
    """
    file = folder.parent / f"{folder.name}.toml"
    file.write_text(config)
    command = [sys.executable, *COMMAND, "serve", "--config", str(file), "--data", str(folder)]
    command += ["--ready-file", str(folder.parent / "never.json")]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=become_mortal if mortal else None,
        check=False,
    )
    assert not (folder.parent / "never.json").exists(), "a server that did not start is not ready"
    return ended.returncode, ended.stdout + ended.stderr


def become_mortal() -> None:
    """What root may do beyond the permissions of a folder is not given to the child."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def ask(server: Server, path: str) -> tuple[int, Any]:
    """GET from the plain HTTP port: (status, JSON)."""
    try:
        url = f"http://127.0.0.1:{server.ready['http']}{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status), json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


# ---- ready ------------------------------------------------------------------------------


def test_the_ready_file_tells_real_ports_and_the_certificate_that_is_shown(server: Server) -> None:
    facts = server.ready
    assert set(facts) == {
        "native", "native_plain", "https", "http", "xmpp", "xmpp_tls", "xmpp_plain",
        "domain", "pid", "fingerprint",
    }  # fmt: skip
    assert facts["pid"] == server.pid
    assert facts["domain"] == "localhost"
    ports = [facts[name] for name in facts if name[:4] in ("nati", "http", "xmpp")]
    assert len(set(ports)) == 7
    for port in ports:
        socket.create_connection(("127.0.0.1", port), 5).close()
    shown = asyncio.run(fetch_fingerprint("127.0.0.1", facts["native"]))
    assert shown == normal_fingerprint(facts["fingerprint"])
    assert ask(server, "/ready")[0] == 200


def test_what_is_secret_is_readable_by_its_owner_only(server: Server) -> None:
    for path in (server.folder / "ready.json", *server.data.iterdir()):
        if path.suffix in (".json", ".token", ".secret") or "key" in path.name:
            assert path.stat().st_mode & 0o077 == 0, path.name


# ---- stopping ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0_and_without_a_ready_file(
    tmp_path: Path, number: signal.Signals
) -> None:
    async def play(server: Server) -> None:
        async with Company(server, pairs=5) as company:
            await company.talks(200)
            assert server.process is not None
            server.process.send_signal(number)
            assert await asyncio.to_thread(server.process.wait, 30) == 0
            assert not (tmp_path / "ready.json").exists()
            assert not (server.data / "admin.json").exists()
            await asyncio.to_thread(server.start)
            await company.settles()
            company.judge()

    server = Server(tmp_path)
    accounts.create(server.data, 10)
    with server:
        server.native_port = int(server.ready["native"])
        asyncio.run(play(server))


# ---- refusing to start ------------------------------------------------------------------


def test_a_second_server_on_the_same_folder_is_refused_and_harms_nobody(server: Server) -> None:
    def files() -> list[str]:
        """But for what the first one makes by itself meanwhile: it packs its own code."""
        return sorted({path.name for path in server.data.iterdir()} - {"upgrades"})

    before = files()
    code, said = serve_and_end(server.data, FREE)
    assert code == 1
    assert f"is in use by process {server.pid}" in said
    assert files() == before
    assert ask(server, "/ready")[0] == 200


def test_a_second_start_by_mistake_leaves_the_ready_file_of_the_first(server: Server) -> None:
    """The very same command twice, as a nervous operator types it."""
    config, ready = server.folder / "whimbrel.toml", server.folder / "ready.json"
    before = ready.read_bytes()
    command = [sys.executable, *COMMAND, "serve", "--config", str(config)]
    command += ["--data", str(server.data), "--ready-file", str(ready)]
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ready.read_bytes() == before


@pytest.mark.parametrize("name", ["native", "https", "http"])
def test_a_port_in_use_is_named(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = FREE.replace(f"{name} = 0", f"{name} = {port}")
        code, said = serve_and_end(tmp_path / "data", config)
    assert code == 1
    assert said.startswith("whimbrel: listen")
    assert str(port) in said
    assert "in use" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("domain = 7", "domain"),
        ("[listen]\nnative = 70000", "listen.native"),
        ("[listen]\nnative = 'x'", "listen.native"),
        ("[listen]\nnatvie = 1", "natvie"),
        ("[tls]\ncertificate = 'a.pem'", "tls"),
        ("[limits]\nmailbox_max = 0", "limits.mailbox_max"),
        ("[limits]\nbody_bytes_max = 65536", "limits.body_bytes_max"),
        ("[log]\nlevel = 'loud'", "log.level"),
        ("[signup]\npin_digits = 1", "signup.pin_digits"),
        ("[sms]\nsender = 'pigeon'", "sms"),
        ("domain = ", "TOML"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(tmp_path: Path, config: str, words: str) -> None:
    code, said = serve_and_end(tmp_path / "data", config)
    assert code == 1
    assert words in said
    assert said.startswith("whimbrel: ")
    assert "Traceback" not in said


def test_certificate_files_that_are_missing_are_named(tmp_path: Path) -> None:
    config = FREE + "[tls]\ncertificate = 'nowhere.pem'\nkey = 'nowhere.key'\n"
    code, said = serve_and_end(tmp_path / "data", config)
    assert code == 1
    assert "nowhere.pem" in said
    assert "Traceback" not in said


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o555)
    code, said = serve_and_end(folder, FREE, mortal=True)
    assert code == 1
    assert str(folder) in said.replace("\n", "")
    assert "not writable" in said or "cannot be written" in said
    assert list(folder.iterdir()) == []


def test_a_damaged_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    server = Server(tmp_path)
    accounts.create(server.data, 2_000)
    with server:
        kill(server)
    path = server.data / "whimbrel.db"
    size = path.stat().st_size
    with open(path, "r+b") as file:
        for at in range(4_096 * 8, size, 4_096 * 4):
            file.seek(at)
            file.write(b"\xde\xad" * 64)
    before = path.read_bytes()
    code, said = serve_and_end(server.data, FREE)
    assert code == 1
    assert "damaged" in said
    assert "restore a backup" in said
    assert "Traceback" not in said
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "whimbrel.db"
    path.write_bytes(b"Dear diary, " * 1_000)
    code, said = serve_and_end(folder, FREE)
    assert code == 1
    assert "damaged" in said
    assert path.read_bytes() == b"Dear diary, " * 1_000
