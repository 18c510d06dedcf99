"""The audit log of administration: appended, bounded, read backwards, whole after a power cut."""

import asyncio
from pathlib import Path

import pytest

from whimbrel.domain.errors import Unready
from whimbrel.node.acts import FIELD_CHARS_MAX, FILE, FILES_KEPT, ActLog


def opened(folder: Path, bytes_max: int = 1 << 20) -> ActLog:
    return ActLog(folder, lambda: 1_000, bytes_max)


def on_whom(log: ActLog, before: int = 0, limit: int = 1_000) -> list[str]:
    return [act.on for act in log.read(before, limit).acts]


def test_the_newest_comes_first_also_after_a_restart(tmp_path: Path) -> None:
    for name in ("alice", "bob", "carl"):
        opened(tmp_path).write("root", "create user", name, "ok", "127.0.0.1")
    assert on_whom(opened(tmp_path)) == ["carl", "bob", "alice"]


def test_it_is_read_page_by_page(tmp_path: Path) -> None:
    log = opened(tmp_path, 700)
    for n in range(9):
        log.write("root", "create user", str(n), "ok", "127.0.0.1")
    seen, before = [], 0
    while True:
        page = log.read(before, 4)
        seen += [act.on for act in page.acts]
        before = page.next
        if not before:
            break
    assert seen == [str(n) for n in reversed(range(9))]


def test_ids_rise_although_the_clock_stands_still(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for _ in range(5):
        log.write("root", "create user", "x", "ok", "127.0.0.1")
    ids = [act.id for act in log.read(0, 10).acts]
    assert ids == sorted(set(ids), reverse=True)


def test_it_is_only_appended_to_and_put_aside_by_size(tmp_path: Path) -> None:
    log = opened(tmp_path, 400)
    log.write("root", "create user", "first", "ok", "127.0.0.1")
    before = (tmp_path / FILE).read_bytes()
    log.write("root", "create user", "second", "ok", "127.0.0.1")
    assert (tmp_path / FILE).read_bytes().startswith(before)
    for n in range(200):
        log.write("root", "create user", str(n), "ok", "127.0.0.1")
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == FILES_KEPT + 1
    assert all(path.stat().st_size <= 400 for path in tmp_path.iterdir())
    assert on_whom(log)[:3] == ["199", "198", "197"]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    opened(tmp_path).write("root", "create user", "x", "ok", "127.0.0.1")
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_a_torn_last_line_hides_nothing_else(tmp_path: Path) -> None:
    opened(tmp_path).write("root", "create user", "x", "ok", "127.0.0.1")
    with open(tmp_path / FILE, "ab") as file:
        file.write(b'{"id": 3, "who": "ro')
    assert on_whom(opened(tmp_path)) == ["x"]


def test_what_comes_after_a_torn_line_is_not_lost(tmp_path: Path) -> None:
    opened(tmp_path).write("root", "create user", "x", "ok", "127.0.0.1")
    with open(tmp_path / FILE, "ab") as file:
        file.write(b'{"id": 3, "who": "ro')
    opened(tmp_path).write("root", "create user", "y", "ok", "127.0.0.1")
    assert on_whom(opened(tmp_path)) == ["y", "x"]


def test_long_and_odd_texts_stay_one_line(tmp_path: Path) -> None:
    opened(tmp_path).write("root", "create user", "a\nb\x1b[2J" + "x" * 5_000, "ok", "::1")
    (on,) = on_whom(opened(tmp_path))
    assert on.startswith("a\nb\x1b[2J")
    assert len(on) == FIELD_CHARS_MAX
    assert (tmp_path / FILE).read_bytes().count(b"\n") == 1


async def test_many_at_once_are_all_written(tmp_path: Path) -> None:
    log = opened(tmp_path)
    await asyncio.gather(
        *(log.record("root", "create user", str(n), "ok", "::1") for n in range(50))
    )
    assert sorted(map(int, on_whom(log))) == list(range(50))


async def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    log = opened(tmp_path / "missing")
    await log.record("root", "create user", "x", "ok", "::1")  # an error in the log, no more
    assert (await log.page(0, 10)).acts == []
    (tmp_path / "missing").mkdir()
    (tmp_path / "missing" / FILE).mkdir()
    with pytest.raises(Unready):
        await log.page(0, 10)
