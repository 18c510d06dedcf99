"""`python -m bench.timing`: does the time of an answer tell a stranger who exists?

A node in this process, strangers one after the other, each kind of question in turn. Prints the
median and the middle half of the answers' times in microseconds; nothing here is a test, because
time is noise. docs/attacks.md says what follows from the figures.
"""

import asyncio
import hmac
import statistics
import tempfile
import time
import timeit
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from bench import accounts
from bench.raw import frame
from whimbrel.domain.desk import SignupLimits
from whimbrel.domain.limits import Limits
from whimbrel.edge.http.keys import same_token
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Listen, Sms
from whimbrel.node.samples import NO_PROBE
from whimbrel.protocol import wire

ROUNDS = 600
PEOPLE = ROUNDS + 2
_fresh = count(1)


async def login(port: int, address: str, key: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(frame(wire.Hello(wire.VERSION, address, 1, key)))
    await reader.read()
    writer.close()


async def measure(name: str, ask: Callable[[int], Awaitable[None]]) -> str:
    times = []
    for n in range(ROUNDS):
        start = time.perf_counter()
        await ask(n)
        times.append((time.perf_counter() - start) * 1e6)
    first, middle, last = statistics.quantiles(times, n=4)
    return f"| {name} | {middle:.0f} | {first:.0f} to {last:.0f} |"


async def logins(port: int) -> None:
    async def asleep(n: int) -> None:
        await login(port, accounts.address_of(2 + n), "wrong")

    async def awake(n: int) -> None:
        await login(port, accounts.address_of(0), "wrong")

    async def nobody(n: int) -> None:
        await login(port, f"+49170{next(_fresh):08}", "wrong")

    async def nobody_again(n: int) -> None:
        await login(port, "+4917099999999", "wrong")

    print("| wrong key at login | median, us | middle half |\n|---|---|---|")
    for name, ask in (
        ("account, asleep", asleep),
        ("no account", nobody),
        ("account, in memory", awake),
        ("no account, asked before", nobody_again),
    ):
        print(await measure(name, ask), flush=True)


async def pins(port: int, token: str) -> None:
    url = f"http://127.0.0.1:{port}/v1/signup/verify"
    # The administrator is exempt from the rate of requests, not from what is asked.
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def verify(number: str) -> None:
            async with session.post(url, json={"number": number, "pin": "00000x"}) as answer:
                await answer.read()
                assert answer.status == 403, answer.status

        async def known(n: int) -> None:
            await verify(accounts.address_of(2 + n))

        async def unknown(n: int) -> None:
            await verify(f"+4915{next(_fresh) + 120_000_000:09}")

        print("\n| PIN for a number without one | median, us | middle half |\n|---|---|---|")
        print(await measure("number with an account", known), flush=True)
        print(await measure("number without", unknown), flush=True)


def comparisons() -> None:
    """The comparison alone: where the first wrong byte stands must not matter."""
    right, token = bytes(32), "a" * 64
    early, late = b"\1" + bytes(31), bytes(31) + b"\1"
    cases: dict[str, Callable[[], object]] = {
        "compare_digest, first byte wrong": lambda: hmac.compare_digest(right, early),
        "compare_digest, last byte wrong": lambda: hmac.compare_digest(right, late),
        "the administrator's token, first letter wrong": lambda: same_token("x" + token[1:], token),
        "the administrator's token, last letter wrong": lambda: same_token(token[1:] + "x", token),
    }
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(20):  # in turn, so that a slow moment hits all of them
        for name, compare in cases.items():
            best[name] = min(best[name], timeit.timeit(compare, number=20_000) / 20_000 * 1e9)
    print("\n| comparison | ns, best of 20 |\n|---|---|")
    for name, ns in best.items():
        print(f"| {name} | {ns:.0f} |")


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        accounts.create(folder, PEOPLE)
        plenty = 10**9
        config = Config(
            probe=NO_PROBE,
            listen=Listen(
                host="127.0.0.1", native=-1, native_plain=0, https=-1, http=0, xmpp=-1, xmpp_tls=-1
            ),
            signup=SignupLimits(wrong_per_client=plenty),
            sms=Sms("file", {"path": str(folder / "pins")}),
            limits=Limits(
                logins_per_address_per_minute=plenty,
                failed_logins_per_address_per_minute=plenty,
                failed_logins_per_account_per_minute=plenty,
            ),
        )
        node = Node(config, folder)
        await node.start()
        admin: dict[str, str] = msgspec.json.decode((folder / "admin.json").read_bytes())
        try:
            await logins(node.ports["native_plain"])
            await pins(node.ports["http"], admin["token"])
        finally:
            await node.stop()
    comparisons()


if __name__ == "__main__":
    uvloop.run(main())
