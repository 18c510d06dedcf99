"""`python -m bench.xmpp`: the same accounts and the same load on each server, side by side.

    --only NAME,...   servers: whimbrel, ejabberd, prosody (default: those that are installed)
    --parts NAME,...  chat, receipts, login, idle, offline, kill (default: all)
    --seconds N       of each chat (default 8)

CPU is the server's own, user and system, from /proc. Whimbrel stores every message durably before
anybody sees it; the others do not.
"""

import argparse
import asyncio
import gc
import statistics
from collections.abc import Callable
from pathlib import Path

import uvloop

from bench.figures import Figure, Figures, write_json
from bench.meter import Meter
from bench.xmpp import chat, kill, offline
from bench.xmpp.peers import Ejabberd, Peer, Prosody, Whimbrel, memory_kib, present, running
from bench.xmpp.raw import client_context

OUT = Path(__file__).parents[1] / "out" / "xmpp.json"
ACCOUNTS = 1_000
PEERS: dict[str, tuple[str, Callable[[], Peer]]] = {
    "whimbrel": ("python3", lambda: Whimbrel(ACCOUNTS)),
    "ejabberd": ("ejabberdctl", Ejabberd),
    "prosody": ("prosody", Prosody),
}
WARM_S = 2.0
IDLE = 500
LOGINS = 500


async def chats(peer: Peer, seconds: float, managed: bool, receipts: bool) -> dict[str, float]:
    """500 pairs with one message under way, 50 pairs with ten."""
    found: dict[str, float] = {}
    for count, window in ((500, 1), (50, 10)):
        context = client_context()
        talks = await chat.pairs(peer, count, context, managed, receipts)
        warm = asyncio.create_task(chat.closed_loop(talks, window, WARM_S + seconds))
        await asyncio.sleep(WARM_S)
        before = sum(talk.done for talk in talks)
        for talk in talks:
            talk.latencies.clear()
        meter = Meter(peer.pid)
        await asyncio.sleep(seconds)
        usage = meter.read()
        done = sum(talk.done for talk in talks) - before
        latencies = sorted(x for talk in talks for x in talk.latencies)
        await warm
        await chat.drain(talks)
        name = f"{count}x{window}"
        found[f"{name}_cpu_us_per_message"] = usage.per(done)
        found[f"{name}_per_s"] = done / usage.wall_s
        found[f"{name}_p50_ms"] = statistics.median(latencies) * 1e3 if latencies else 0
        found[f"{name}_p99_ms"] = latencies[int(len(latencies) * 0.99)] * 1e3 if latencies else 0
        for talk in talks:
            talk.sender.close()
            talk.receiver.close()
        await asyncio.gather(*(t.sender.closed for t in talks), *(t.receiver.closed for t in talks))
        await asyncio.sleep(1)
    return found


async def logins(peer: Peer) -> dict[str, float]:
    """TLS handshake, SCRAM-SHA-1, bind, stream management, presence."""
    context = client_context()
    for client in await chat.log_in(peer, 0, 50, context, chat._ignore, scram=True):
        client.close()
    await asyncio.sleep(1)
    meter = Meter(peer.pid)
    clients = await chat.log_in(peer, 0, LOGINS, context, chat._ignore, scram=True, at_once=20)
    usage = meter.read()
    for client in clients:
        client.close()
    await asyncio.gather(*(client.closed for client in clients))
    # The handshake alone, measured the same way.
    return {"login_scram_cpu_ms": usage.per(LOGINS) / 1e3}


async def idle(peer: Peer) -> dict[str, float]:
    """Memory of connections that say nothing: TLS, logged in, available."""
    context = client_context()
    for client in await chat.log_in(peer, 0, 50, context, chat._ignore):
        client.close()
    await asyncio.sleep(2)
    gc.collect()
    before = memory_kib(peer.pid)
    clients = await chat.log_in(peer, 100, IDLE, context, chat._ignore)
    await asyncio.sleep(25)
    after = memory_kib(peer.pid)
    for client in clients:
        client.close()
    await asyncio.gather(*(client.closed for client in clients))
    return {"idle_kib_per_connection": (after - before) / IDLE}


def measure(peer: Peer, parts: set[str], seconds: float) -> dict[str, float]:
    found: dict[str, float] = {}

    async def work() -> None:
        await chat.register(peer, ACCOUNTS, client_context())
        if "idle" in parts:  # first: what other parts have grown would hide it
            found.update(await idle(peer))
        if "chat" in parts:
            for name, value in (await chats(peer, seconds, False, False)).items():
                found[f"plain_{name}"] = value
            for name, value in (await chats(peer, seconds, True, False)).items():
                found[f"managed_{name}"] = value
        if "receipts" in parts:
            for name, value in (await chats(peer, seconds, False, True)).items():
                found[f"receipts_{name}"] = value
        if "login" in parts:
            found.update(await logins(peer))
        if "offline" in parts:
            found.update(await offline.offline(peer))
        if "kill" in parts:
            found.update(await kill.lost(peer))

    uvloop.run(work())
    return found


def main() -> None:
    parser = argparse.ArgumentParser("bench.xmpp", description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--parts", default="chat,receipts,login,idle,offline,kill")
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name] or list(PEERS)
    columns: dict[str, dict[str, float]] = {}
    for name in only:
        program, make = PEERS[name]
        if not present(program):
            print(f"{name}: not installed, left out")
            continue
        with running(make()) as peer:  # type: ignore[arg-type]
            columns[name] = measure(peer, set(options.parts.split(",")), options.seconds)
        print(f"{name}: measured", flush=True)
    show(columns)
    figures: Figures = {
        f"{name}_{figure}": Figure(value)
        for name, column in columns.items()
        for figure, value in column.items()
    }
    write_json(OUT, figures, {})


def show(columns: dict[str, dict[str, float]]) -> None:
    rows = list(dict.fromkeys(name for column in columns.values() for name in column))
    print(f"{'figure':<42}" + "".join(f"{name:>12}" for name in columns))
    for row in rows:
        cells = "".join(
            f"{column[row]:>12,.2f}" if row in column else f"{'-':>12}"
            for column in columns.values()
        )
        print(f"{row:<42}{cells}")


if __name__ == "__main__":
    main()
