"""A million registered people: how long the server takes to start, what memory it needs,
and what it costs to wake a part of them (one message to each, from a few senders).
"""

from bench.accounts import address_of
from bench.connections import raise_open_files
from bench.figures import Figure, Figures, short
from bench.mailing import mailers, sent_to_inboxes
from bench.meter import Meter
from bench.raw import client_context
from bench.server import Server
from bench.waiting import settled
from bench.world import run, world

SENDERS = 20
WINDOW = 32
STARTS = 3
PATIENCE_S = 300.0


def million(people: int, woken: int) -> Figures:
    """The start is the median of STARTS: from the process's creation to its ready file."""

    async def wake() -> Figures:
        each = woken // SENDERS
        lists = [
            [address_of(SENDERS + number * each + n) for n in range(each)]
            for number in range(SENDERS)
        ]
        senders = await mailers(lists, 0, server.ready["native"], client_context())
        meter = Meter(server.pid)
        await sent_to_inboxes(senders, server, woken, WINDOW, PATIENCE_S)
        usage = meter.read()
        after = await settled(server.pss_kib, 10.0)
        return {
            f"wake_{short(woken)}_s": Figure(usage.wall_s),
            f"wake_{short(woken)}_cpu_us_per_user": Figure(
                usage.per(woken), f"one message stored for each; {usage.bound()}"
            ),
            f"wake_{short(woken)}_pss_mib": Figure(after / 1024),
            f"wake_{short(woken)}_kib_per_user": Figure((after - before) / woken),
        }

    raise_open_files(2_000)
    with world(people) as server:
        seconds = [server.start_s, *(start_again(server) for _ in range(STARTS - 1))]
        before = server.pss_kib()
        size = sum(file.stat().st_size for file in server.data.iterdir()) / 2**20
        started = sorted(seconds)[STARTS // 2]
        everybody = short(people)
        return {
            f"start_{everybody}_users_s": Figure(started, f"data folder {size:,.0f} MiB"),
            f"start_{everybody}_users_pss_mib": Figure(before / 1024),
            **run(wake),
        }


def start_again(server: Server) -> float:
    server.stop()
    server.start()
    return server.start_s
