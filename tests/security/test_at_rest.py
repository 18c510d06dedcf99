"""What a thief of the database finds: hashes. Read from the files of a real server, log included.

The rules themselves stand in logic/desk.py and logic/devices.py, the hashes in edge/http/keys.py.
"""

import asyncio
import hashlib
import json
import resource
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from bench.raw import RawClient, client_context, connect
from tests.node.kill import kill
from tests.node.test_wipe import until
from tests.security.spied import Secrets, SpiedServer
from whimbrel.edge.http.keys import key_hash, new_key, new_pin, pin_hash
from whimbrel.protocol import wire
from whimbrel.storage.opening import FILE

NUMBER, OTHER = "+4915112345678", "+4915187654321"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def databases(folder: Path) -> dict[str, bytes]:
    found = {name: data for name, data in files(folder).items() if name.startswith(FILE)}
    assert f"{FILE}-wal" in found, "what was written last stands in the log"
    return found


def rows(folder: Path, statement: str) -> list[Any]:
    path, flags = str(folder / FILE), apsw.SQLITE_OPEN_READONLY
    with closing(apsw.Connection(path, flags=flags)) as db:
        db.set_busy_timeout(5_000)
        return list(db.execute(statement))


def test_the_database_holds_hashes_of_keys_and_pins_and_neither_itself(tmp_path: Path) -> None:
    server, secrets = SpiedServer(tmp_path, "json"), Secrets()
    server.start()
    try:
        server.post("/v1/signup/pin", {"number": NUMBER})
        pin = secrets.keep("a PIN", server.pin_of(NUMBER))
        secret = bytes.fromhex((server.data / "pin.secret").read_text())
        hashed = pin_hash(secret, NUMBER, pin)
        assert any(hashed in data for data in databases(server.data).values()), "a blind search"
        assert secrets.leaks(files(server.data)) == []

        given = {"number": NUMBER, "pin": pin}
        account = json.loads(server.post("/v1/signup/verify", given)[1])
        key = secrets.keep("a key", account["key"])
        assert rows(server.data, "SELECT key_hash FROM device") == [(key_hash(key),)]
        assert rows(server.data, "SELECT pin_hash FROM signup") == [(b"",)], "a used PIN is gone"
        assert secrets.leaks(files(server.data)) == []
        asyncio.run(_links_a_device(server, secrets, account["device"], key))
        kill(server)
        assert secrets.leaks(files(server.data)) == []
        server.start()
        assert secrets.leaks(files(server.data)) == []
    finally:
        server.stop()
    assert secrets.leaks(files(server.data)) == []
    assert len(secrets.known) == 3


async def _links_a_device(server: SpiedServer, secrets: Secrets, device: int, key: str) -> None:
    heard: list[Any] = []
    client = RawClient(NUMBER, key, device, client_context(), lambda _, each: heard.extend(each))
    await connect(client, "127.0.0.1", server.ready["native"])
    client.send(wire.Link("laptop"))
    client.flush()
    await until(lambda: any(isinstance(each, wire.Linked) for each in heard), "linked")
    secrets.keep("a key", next(each.key for each in heard if isinstance(each, wire.Linked)))
    assert len(rows(server.data, "SELECT 1 FROM device")) == 2
    client.close()


def test_an_old_hash_of_a_pin_is_wiped_from_the_files(tmp_path: Path) -> None:
    """Used, or replaced by the next one: secure_delete and the checkpoint leave nothing."""
    server = SpiedServer(tmp_path, "json")
    server.start()
    try:
        secret = bytes.fromhex((server.data / "pin.secret").read_text())
        server.post("/v1/signup/pin", {"number": NUMBER})
        hashed = pin_hash(secret, NUMBER, server.pin_of(NUMBER))
        given = {"number": NUMBER, "pin": server.pin_of(NUMBER)}
        assert server.post("/v1/signup/verify", given)[0] == 201
    finally:
        server.stop()  # a clean end truncates the log
    assert not any(hashed in data for data in files(server.data).values())


def test_a_pin_cannot_be_tried_out_on_a_stolen_database_alone() -> None:
    """Its hash is keyed with a secret that is not in the database, and bound to the number."""
    secret, other = b"s" * 32, b"t" * 32
    hashed = pin_hash(secret, NUMBER, "12345")
    guesses = {f"{guess:05d}" for guess in range(0, 100_000, 7)} | {"12345"}
    assert hashed not in {pin_hash(other, NUMBER, guess) for guess in guesses}
    assert hashed not in {hashlib.sha256(guess.encode()).digest() for guess in guesses}
    assert hashed != pin_hash(secret, OTHER, "12345")
    # Said honestly in docs/security.md: who has the secret too needs no second for all PINs.
    assert hashed in {pin_hash(secret, NUMBER, guess) for guess in guesses}


def test_the_secret_of_pins_is_not_in_the_database(tmp_path: Path) -> None:
    server = SpiedServer(tmp_path, "json")
    server.start()
    try:
        server.post("/v1/signup/pin", {"number": NUMBER})
        found = databases(server.data)
        for name in ("pin.secret", "admin.token"):
            text = (server.data / name).read_text()
            assert len(text) == 64
            forms = (text.encode(), bytes.fromhex(text))
            assert [file for file, data in found.items() if any(f in data for f in forms)] == []
            assert stat.S_IMODE((server.data / name).stat().st_mode) == 0o600
    finally:
        server.stop()


def test_keys_are_long_and_pins_are_drawn_from_all_there_are() -> None:
    keys = {new_key()[0] for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) == 43 for key in keys), "32 bytes in Base64"
    pins = [new_pin(4) for _ in range(20_000)]
    assert {len(pin) for pin in pins} == {4}
    assert {pin[0] for pin in pins} == set("0123456789")


def test_a_server_leaves_no_core(tmp_path: Path) -> None:
    """Also where the operator's shell would let it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        pytest.skip("no process may leave a core here")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    server = SpiedServer(tmp_path, "json")
    try:
        server.start()
        limits = Path(f"/proc/{server.pid}/limits").read_text().splitlines()
        core = next(line for line in limits if line.startswith("Max core file size"))
        assert core.split()[4] == "0"
    finally:
        server.stop()
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
