"""whimbrel upgrade | rollback: another version of the rules, while the server runs.

Asks the running server (its address and token stand in <data>/admin.json) and tells what
happens, step by step, until it is over. docs/upgrade.md.
"""

import getpass
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import msgspec
import typer

from whimbrel.cli.spoken import run, spoken
from whimbrel.cli.users import DEFAULT_DATA, Admin, DataOption, admin_of, admin_request
from whimbrel.client import ClientError
from whimbrel.edge.http.shapes import Upgrade, UpgradeHistory, UpgradeState

POLL_S = 0.3
RELOADED = ("logic", "edge/xmpp/features")


@spoken
def upgrade(
    path: Annotated[
        Path | None, typer.Argument(help="A checkout, an installed package or a wheel.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
    history: Annotated[bool, typer.Option("--history", help="What there has been.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Load it again whenever a file is saved.")
    ] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Only the quick checks, no canary (for developers).")
    ] = False,
) -> None:
    """Load another version of the rules and XMPP features into the running server."""
    admin = _admin(data)
    if history:
        _show_history(admin)
        return
    if path is None:
        raise ClientError("say what to load: a checkout, an installed package or a wheel")
    if not path.exists():
        raise ClientError(f"there is no {path}")
    place = path.resolve()
    if watch:
        _watch(admin, place)
        return
    if _follow(admin, _begin(admin, place, fast)).result != "accepted":
        raise typer.Exit(1)


@spoken
def rollback(data: DataOption = DEFAULT_DATA) -> None:
    """End the upgrade that is under way, or go back to the version before this one."""
    admin = _admin(data)
    state = _ask(admin, "POST", "/rollback", {"who": _who()}, UpgradeState)
    assert state.last is not None
    last = state.last
    while not last.ended_s:
        time.sleep(POLL_S)
        last = _state(admin).last or last
    print(f"{last.result}: {last.text}")
    print(f"in use: {_state(admin).in_use}")


def _begin(admin: Admin, place: Path, fast: bool) -> int:
    body: dict[str, Any] = {"path": str(place), "who": _who(), "fast": fast}
    state = _ask(admin, "POST", "", body, UpgradeState)
    assert state.last is not None
    number: int = state.last.number
    return number


def _follow(admin: Admin, number: int, quiet: bool = False) -> Upgrade:
    """Tell each step once, until it is over (quiet: or until everybody has it)."""
    told: set[str] = set()
    while True:
        last = _state(admin).last
        if last is None or last.number != number:
            raise ClientError(f"upgrade {number} is not the last one any more: --history")
        for line in _lines(last):
            if line not in told:
                told.add(line)
                print(line, flush=True)
        if last.ended_s or (quiet and last.phase == "watch"):
            return last
        time.sleep(POLL_S)


def _lines(last: Upgrade) -> list[str]:
    """All there is to say so far; what was said already is left out by the caller."""
    lines = [f"upgrade {last.number}: {last.place}"]
    if last.version:
        lines.append(f"  version    {last.version}")
    for step in last.steps:
        if step.result != "running":
            lines.append(f"  {step.name:<10} {step.result}, {step.seconds:.1f} s  {step.text}")
        lines += [f"             note: {note}" for note in step.notes]
    reached = ("canary", "watch", "ended")
    if last.phase in reached and last.share and not last.fast:
        lines.append("  canary     a part of the accounts has it")
    if last.phase in reached[1:] and last.share == 1:
        lines.append("  watch      all accounts have it; the old version is ready to take over")
    if last.ended_s:
        lines += [f"             {_measure(each)}" for each in last.measures[:6]]
        lines += [f"             note: {note}" for note in last.notes]
        if last.affected:
            lines.append(
                f"             {last.affected} messages were run again on the old version, "
                f"{last.failed_new} of them failed on the new one only"
            )
        lines.append(
            f"{last.result}: {last.text} (longest pause {last.pause_ms:.1f} ms, "
            f"{last.pause_cpu_ms:.1f} ms of it CPU)"
        )
    return lines


def _measure(each: Any) -> str:
    return (
        f"{each.message}: {each.old_us:.0f} us old ({each.old_calls}), "
        f"{each.new_us:.0f} us new ({each.new_calls})"
    )


def _show_history(admin: Admin) -> None:
    found = _ask(admin, "GET", "/history", None, UpgradeHistory).upgrades
    state = _state(admin)
    print(f"in use: {state.in_use}" + ("" if state.number else " (as installed)"))
    for each in found:
        when = datetime.fromtimestamp(each.began_s).astimezone()
        took_s = each.ended_s - each.began_s
        print(
            f"{each.number:>4}  {when:%Y-%m-%d %H:%M:%S}  {took_s:6.1f} s  {each.result:<11}  "
            f"{each.version or '-'}  by {each.who or 'somebody'}  {each.text}"
        )
    if not found:
        print("No upgrades yet.")


def _watch(admin: Admin, place: Path) -> None:
    """For developers: only the quick checks; an exception in new code brings the old back."""
    folder = _package(place)
    print(f"watching {folder}; Ctrl-C ends it", flush=True)
    seen = _stamps(folder)
    _again(admin, place)
    told = ""
    while True:
        time.sleep(POLL_S)
        stamps = _stamps(folder)
        if stamps != seen:
            changed = [name for name in stamps if stamps[name] != seen.get(name)]
            seen = stamps
            print(f"saved: {', '.join(sorted(changed)[:3]) or 'a file is gone'}", flush=True)
            _again(admin, place)
        last = _state(admin).last
        if last is not None and last.result == "rolled back" and last.text != told:
            told = last.text
            print(f"rolled back: {last.text}", flush=True)


def _again(admin: Admin, place: Path) -> None:
    try:
        _follow(admin, _begin(admin, place, True), quiet=True)
    except ClientError as error:
        print(str(error), flush=True)


def _package(place: Path) -> Path:
    for folder in (place / "src" / "whimbrel", place / "whimbrel", place):
        if (folder / "logic").is_dir():
            return folder
    raise ClientError(f"{place} is no checkout: there is nothing to watch")


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for part in RELOADED:
        for path in (folder / part).glob("*.py"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # an editor replaces it at this moment
                continue
            found[str(path.relative_to(folder))] = (stat.st_mtime_ns, stat.st_size)
    return found


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def _admin(data: Path) -> Admin:
    admin = admin_of(data)
    if admin is None:
        raise ClientError(f"no server runs in {data}; name its data folder with --data")
    return admin


def _state(admin: Admin) -> UpgradeState:
    state: UpgradeState = _ask(admin, "GET", "", None, UpgradeState)
    return state


def _ask(admin: Admin, method: str, path: str, body: dict[str, Any] | None, kind: type[Any]) -> Any:
    url = f"{admin.url.rstrip('/')}/admin/upgrades{path}"
    try:
        return msgspec.convert(run(admin_request(method, url, admin, body)), kind)
    except aiohttp.ClientConnectorError:
        raise ClientError(f"no server answers at {admin.url}") from None
