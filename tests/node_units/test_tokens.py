"""Tokens of administration: hashes only, scopes, an end, and revoked at once."""

import json
from pathlib import Path

import pytest

from whimbrel.domain.errors import Busy, Exists, NotFound, Unready
from whimbrel.node import tokens
from whimbrel.node.tokens import DAY_US, FILE, LOOK_S, TokenFile


class Clock:
    def __init__(self) -> None:
        self.us = 1_800_000_000_000_000
        self.s = 50.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(folder: Path, clock: Clock) -> TokenFile:
    return TokenFile(folder, lambda: clock.us, lambda: clock.s)


def test_a_token_opens_what_its_scopes_say_also_after_a_restart(
    tmp_path: Path, clock: Clock
) -> None:
    made = opened(tmp_path, clock).create("grafana", ["users", "read"], 0, "root")
    assert made.scopes == ["read", "users"]
    holder = opened(tmp_path, clock).find(made.token)
    assert holder is not None
    assert holder.name == "grafana"
    may = [scope for scope in ("read", "users", "operate", "admin") if holder.may(scope)]
    assert may == ["read", "users"]


def test_every_scope_may_read_and_admin_may_everything(tmp_path: Path, clock: Clock) -> None:
    file = opened(tmp_path, clock)
    for scope in ("users", "operate", "admin"):
        holder = file.find(file.create(scope, [scope], 0, "root").token)
        assert holder is not None
        assert holder.may("read")
        assert holder.may("operate") == (scope in ("operate", "admin"))


def test_only_a_hash_is_on_the_disk_and_only_the_server_may_read_it(
    tmp_path: Path, clock: Clock
) -> None:
    made = opened(tmp_path, clock).create("one", ["admin"], 0, "root")
    text = (tmp_path / FILE).read_text()
    assert made.token not in text
    assert made.token.removeprefix(tokens.PREFIX) not in text
    (kept,) = json.loads(text)["tokens"]
    assert kept["hash"] == tokens.hash_of(made.token)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    assert made.token not in repr(opened(tmp_path, clock)._by_hash)


def test_it_ends_on_its_day(tmp_path: Path, clock: Clock) -> None:
    file = opened(tmp_path, clock)
    token = file.create("short", ["read"], 1, "root").token
    clock.us += DAY_US - 1
    assert file.find(token) is not None
    clock.us += 1
    assert file.find(token) is None
    assert [line.name for line in file.lines()] == ["short"], "it is still told of"


def test_a_revoked_one_is_worthless_at_once(tmp_path: Path, clock: Clock) -> None:
    file = opened(tmp_path, clock)
    token = file.create("one", ["read"], 0, "root").token
    other = file.create("two", ["read"], 0, "root").token
    file.revoke("one")
    assert file.find(token) is None
    assert file.find(other) is not None
    with pytest.raises(NotFound):
        file.revoke("one")


def test_what_the_command_line_writes_is_seen_within_a_second(tmp_path: Path, clock: Clock) -> None:
    server, by_hand = opened(tmp_path, clock), opened(tmp_path, clock)
    token = by_hand.create("one", ["read"], 0, "cli me").token
    clock.s += LOOK_S
    assert server.find(token) is not None
    by_hand.revoke("one")
    clock.s += LOOK_S
    assert server.find(token) is None


def test_names_are_used_once_and_nobody_else_is_root(tmp_path: Path, clock: Clock) -> None:
    file = opened(tmp_path, clock)
    file.create("one", ["read"], 0, "root")
    for name in ("one", "root"):
        with pytest.raises(Exists):
            file.create(name, ["read"], 0, "root")


def test_there_are_only_so_many(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "TOKENS_MAX", 2)
    file = opened(tmp_path, clock)
    for name in ("one", "two"):
        file.create(name, ["read"], 0, "root")
    with pytest.raises(Busy):
        file.create("three", ["read"], 0, "root")


def test_what_is_no_token_opens_nothing(tmp_path: Path, clock: Clock) -> None:
    file = opened(tmp_path, clock)
    file.create("one", ["admin"], 0, "root")
    for text in ("", "one", "whimbrel_", "\udcff\udcfe", "x" * 10_000):
        assert file.find(text) is None


def test_a_damaged_file_is_a_reason_not_to_start(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / FILE).write_text("{")
    with pytest.raises(Unready, match=r"tokens\.json"):
        opened(tmp_path, clock)


def test_the_last_use_is_remembered(tmp_path: Path, clock: Clock) -> None:
    file = opened(tmp_path, clock)
    token = file.create("one", ["read"], 0, "root").token
    assert file.lines()[0].last_used_us == 0
    clock.us += 5
    file.find(token)
    assert file.lines()[0].last_used_us == clock.us
