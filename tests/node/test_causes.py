"""Each of the four causes is caused on a real server, and its alert names it and clears itself."""

import asyncio
from collections.abc import Iterator

import pytest

from bench.bottlenecks import CAUSES, Told, hampered, play_all

SETTINGS = "hold_s = 0\nclear_s = 0\nprobe_ms = 0\nprobe_failures = 0"

NAMED = {
    "slow disk": ("slow disk: a commit takes", "the database"),
    "hot actor": ("one hot actor: 1,000 messages are for +4915100000008", "+4915100000008"),
    "slow reader": ("slow reader: this client", "+4915100000010"),
    "loop hog": ("bench/hampered.py", "the event loop"),
}


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Told]]:
    with hampered(SETTINGS) as server:
        yield {each.cause: each for each in asyncio.run(play_all(server))}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_bottleneck_is_named_with_its_owner_and_its_cause(
    told: dict[str, Told], cause: str
) -> None:
    words, owner = NAMED[cause]
    assert words in told[cause].alert.cause
    assert told[cause].alert.owner == owner
    assert told[cause].alert.text
