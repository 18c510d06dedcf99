"""How big a stanza and a message may be, and what a client is told of one that is bigger."""

import pytest

from tests.xmpp.house import House
from whimbrel.domain.limits import Limits

BODY_MAX = Limits().body_bytes_max


@pytest.mark.parametrize("letters", [BODY_MAX // 2 + 1, 200_000])
async def test_a_message_that_is_too_big_comes_back_and_the_stream_goes_on(
    home: House, letters: int
) -> None:
    """What is stored is the text, for clients of our own, and the stanza's children with it."""
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    await alice.enable()
    await alice.say(
        f"<message to='bob@localhost' type='chat' id='big'><body>{'x' * letters}</body></message>"
    )
    error = await alice.hear("message", type="error")
    assert error.get("id") == "big"
    said = error[0]
    assert said.get("type") == "modify"
    assert said[0].tag.endswith("}policy-violation")
    assert str(BODY_MAX) in (said[1].text or "")
    await alice.say("<message to='bob@localhost' type='chat'><body>small</body></message>")
    assert (await bob.message())[1] == "small"
    await alice.say("<r xmlns='urn:xmpp:sm:3'/>")
    assert (await alice.hear("a")).get("h") == "2"  # the refusal was its answer, and counts


async def test_a_message_just_below_the_limit_passes(home: House) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")
    text = "x" * (BODY_MAX // 2 - 200)
    await alice.say(f"<message to='bob@localhost' type='chat'><body>{text}</body></message>")
    assert (await bob.message())[1] == text
