"""whimbrel backup and whimbrel restore, as an operator types them beside a running server."""

import asyncio
from pathlib import Path

from bench import accounts
from bench.server import Server
from tests.node.test_audit import whimbrel


def test_back_up_a_running_server_and_restore_it_elsewhere(tmp_path: Path) -> None:
    server = Server(tmp_path)
    accounts.create(server.data, 3)
    asyncio.run(asyncio.to_thread(server.start))
    try:
        backup = tmp_path / "backup"
        done = whimbrel("backup", str(backup), "--data", str(server.data))
        assert done.returncode == 0, done.stderr
        assert "3 accounts" in done.stdout
        done = whimbrel("backup", str(backup), "--data", str(server.data))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "exists already" in done.stderr
        done = whimbrel("restore", str(backup), "--data", str(server.data), "--replace")
        assert done.returncode == 1
        assert f"in use by process {server.pid}" in done.stderr
    finally:
        server.stop()
    done = whimbrel("restore", str(backup), "--data", str(tmp_path / "elsewhere"))
    assert done.returncode == 0, done.stderr
    assert "restored" in done.stdout
    listed = whimbrel("user", "list", "--data", str(tmp_path / "elsewhere"))
    assert listed.stdout.split() == sorted(accounts.address_of(n) for n in range(3))
    done = whimbrel("restore", str(tmp_path), "--data", str(tmp_path / "more"))
    assert done.returncode == 1
    assert "is no backup" in done.stderr
