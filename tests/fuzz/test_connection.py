"""Conversations that were broken on their way, and any bytes, on real connections to a node.

Whatever comes, the server answers by name or closes, forgets the session, harms nobody, and
meets no bug of its own: after every example the two people chat, and `unharmed` looks at what
crashed, was set aside as poison, or came out of the loop. The examples are always the same.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import msgspec
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import accounts
from bench.raw import frame
from tests.edge.house import BODY, House, hello_of, house, until
from whimbrel.domain.errors import Refused
from whimbrel.protocol import wire

PEOPLE = 40
FIXED = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
CODES = {kind.code for kind in Refused.__subclasses__()} | {"internal", "try-again"}

numbers = st.integers(0, 5) | st.integers(0, 2**53 - 1)
guests = st.integers(2, PEOPLE - 1)
addresses = guests.map(accounts.address_of) | st.text(max_size=70)
bodies = st.just(BODY) | st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3).map(
    lambda body: msgspec.Raw(msgspec.msgpack.encode(body))
)
messages = st.one_of(
    st.builds(wire.Submit, st.integers(1, 6), addresses, bodies),
    st.builds(wire.Confirm, numbers),
    st.builds(wire.Read, addresses, numbers),
    st.builds(wire.Typing, addresses, st.booleans()),
    st.builds(wire.Watch, addresses),
    st.builds(wire.Block, addresses, st.booleans()),
    st.builds(wire.Ping, numbers),
    st.builds(wire.Pong, numbers),
    st.builds(wire.Link, st.text(max_size=9)),
    st.builds(wire.Unlink, numbers),
    st.builds(wire.Bye),
    guests.map(hello_of),
)
conversations = st.tuples(guests.map(hello_of), st.lists(messages, min_size=1, max_size=10)).map(
    lambda parts: [frame(message) for message in (parts[0], *parts[1])]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
strange = st.tuples(st.integers(-1, 70), st.lists(values, max_size=6)).map(
    lambda parts: msgspec.msgpack.encode([parts[0], *parts[1]])
) | values.map(msgspec.msgpack.encode)


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A conversation in which a few things went wrong: bytes, lengths, order, an end."""
    frames = list(draw(conversations))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(frames) - 1))
        match draw(st.integers(0, 5)):
            case 0:
                data = bytearray(frames[at])
                if data:
                    data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
                frames[at] = bytes(data)
            case 1:
                frames = list(draw(st.permutations(frames)))
            case 2:
                frames[at] = frames[at][: draw(st.integers(0, len(frames[at])))]
            case 3:
                frames.insert(at, frames[at])
            case 4:
                frames[at] += draw(st.binary(min_size=1, max_size=40))
            case _:
                frames.insert(at, framed(draw(strange)))
    return b"".join(frames)


class Street:
    """One house for all examples of this file, and the loop it lives in."""

    def __init__(self, runner: asyncio.Runner, home: House) -> None:
        self._runner = runner
        self.home = home
        self.answers: list[Any] = []  # of all strangers

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._runner.run(coroutine)

    async def visit(self, data: bytes, cuts: Sequence[int] = (), *, tls: bool = False) -> None:
        """Say it in pieces, hear everything, leave; then all is as before."""
        home = self.home
        stranger = await home.stranger(tls=tls)
        start = 0
        for stop in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
            stranger.raw(data[start:stop])
            await asyncio.sleep(0)
            start = stop
        if not tls:  # TLS knows no end of one direction only
            stranger.hang_up()
            while (answer := await stranger.next()) is not None:
                self.answers.append(answer)
        stranger.close()
        await home.chat(1)
        await home.gone()
        home.unharmed()

    def judge(self) -> None:
        """Every refusal had a name of docs/protocol.md."""
        told = {answer.code for answer in self.answers if isinstance(answer, wire.Error)}
        assert told <= CODES - {"internal"}, told - CODES


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder = tmp_path_factory.mktemp("street")
    rich: dict[str, Any] = {
        "failed_logins_per_address_per_minute": 10**6,
        "new_contacts_per_hour": 10**6,
    }
    rich |= {"failed_logins_per_account_per_minute": 10**6}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = contextlib.AsyncExitStack()

        async def open_house() -> House:
            return await stack.enter_async_context(house(folder, PEOPLE, **rich))

        built = Street(runner, runner.run(open_house()))
        yield built
        runner.run(stack.aclose())


cuts = st.lists(st.integers(0, 2_000), max_size=4)


@settings(FIXED, max_examples=150)
@given(data=broken(), cuts=cuts)
def test_broken_conversations_harm_nobody(street: Street, data: bytes, cuts: list[int]) -> None:
    street.run(street.visit(data, cuts))
    street.judge()


@settings(FIXED, max_examples=50)
@given(data=broken(), cuts=cuts)
def test_broken_conversations_inside_tls_harm_nobody(
    street: Street, data: bytes, cuts: list[int]
) -> None:
    street.run(street.visit(data, cuts, tls=True))


@settings(FIXED, max_examples=60)
@given(who=guests, payloads=st.lists(strange, min_size=1, max_size=3))
def test_values_of_the_wrong_shape_after_the_login_harm_nobody(
    street: Street, who: int, payloads: list[bytes]
) -> None:
    street.run(street.visit(frame(hello_of(who)) + b"".join(map(framed, payloads))))
    street.judge()


@settings(FIXED, max_examples=60)
@given(data=st.binary(min_size=1, max_size=3_000) | st.binary(max_size=60).map(framed), cuts=cuts)
def test_random_bytes_harm_nobody(street: Street, data: bytes, cuts: list[int]) -> None:
    street.run(street.visit(data, cuts))
    street.judge()


@settings(FIXED, max_examples=40)
@given(data=st.binary(min_size=1, max_size=600))
def test_random_bytes_at_the_door_of_tls_harm_nobody(street: Street, data: bytes) -> None:
    async def knock() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", street.home.node.ports["native"])
        writer.write(data)
        writer.close()
        await street.home.chat(1)
        await street.home.gone()
        street.home.unharmed()

    street.run(knock())


@settings(FIXED, max_examples=20)
@given(frames=conversations, cuts=cuts)
def test_unbroken_conversations_are_understood(
    street: Street, frames: list[bytes], cuts: list[int]
) -> None:
    """So that the tests above are known to break something that works."""
    street.answers.clear()
    before = street.home.count("logins")
    street.run(street.visit(b"".join(frames), cuts))
    assert street.home.count("logins") <= before + 1


async def test_a_fresh_guest_is_welcomed_and_heard(tmp_path: Any) -> None:
    async with house(tmp_path) as home:
        guest = await home.guest(2)
        guest.send(wire.Submit(1, accounts.address_of(3), BODY))
        assert (await guest.next_of(wire.Stored)).c == 1
        guest.close()
        await until(lambda: len(home.node.listener) == 2, "sessions are left over")
