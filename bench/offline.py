"""Offline: messages to people who are not there, and the moment when they come back."""

from bench.accounts import address_of
from bench.figures import Figure, Figures
from bench.mailing import collectors, mailers, sent_to_inboxes
from bench.meter import Meter
from bench.raw import client_context
from bench.waiting import until
from bench.world import run, world

SENDERS = 50
WINDOW = 10
PATIENCE_S = 120.0


def offline(recipients: int, each: int) -> Figures:
    """`each` messages to each of `recipients`; SENDERS share the work in turn.

    Delivery counts until everybody has everything and every sender knows it; the logins of
    the recipients are part of it (one for `each` messages).
    """
    total = recipients * each

    async def scene() -> Figures:
        port, context = server.ready["native"], client_context()
        everybody = [address_of(n % recipients) for n in range(total)]
        lists = [everybody[n * total // SENDERS :][: total // SENDERS] for n in range(SENDERS)]
        senders = await mailers(lists, recipients, port, context)
        meter = Meter(server.pid)
        await sent_to_inboxes(senders, server, total, WINDOW, PATIENCE_S)
        store = meter.read()
        last_ids = [sender.last_id for sender in senders]
        meter = Meter(server.pid)
        people = await collectors(recipients, 0, port, context)
        await until(
            lambda: (
                sum(client.state.received for client in people) == total
                and all(s.delivered >= id for s, id in zip(senders, last_ids, strict=True))
            ),
            PATIENCE_S,
            "all delivered",
        )
        deliver = meter.read()
        return {
            "offline_store_cpu_us_per_message": Figure(store.per(total), store.bound()),
            "offline_store_messages_per_s": Figure(total / store.wall_s),
            "offline_deliver_cpu_us_per_message": Figure(deliver.per(total), deliver.bound()),
            "offline_deliver_messages_per_s": Figure(total / deliver.wall_s),
        }

    with world(recipients + SENDERS) as server:
        return run(scene)
