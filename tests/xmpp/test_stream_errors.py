"""Stream errors that no client can provoke by what it writes: bugs of ours, and bad moments."""

import pytest

from tests.xmpp.house import House
from tests.xmpp.talk import SM
from whimbrel.edge.xmpp.presence import Presence


async def test_a_bug_of_ours_ends_this_stream_only(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await home.talker("alice", "a"), await home.talker("bob", "b")

    def stumble(self: Presence, *_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Presence, "take", stumble)
    await alice.say("<presence/>")
    error = await alice.hear("error")
    assert error[0].tag.endswith("}internal-server-error")
    assert len(error) == 1  # and nothing of what it was
    assert home.count("internal") == 1
    await bob.quiet()


async def test_a_session_that_ends_while_somebody_waits_to_resume_it(home: House) -> None:
    """What the old connection had sent is not committed yet, so the new one is not told."""
    alice = await home.talker("alice", "a")
    token = (await alice.enable()).get("id")
    session = next(iter(home.node.hub.sessions.values()))
    session.received += 1
    session.undone()  # as if a commit were under way
    again = await home.unbound("alice")
    await again.say(f"<resume xmlns='{SM}' previd='{token}' h='0'/>")
    error = await alice.hear("error")
    assert error[0].tag.endswith("}conflict")
    session.end()
    error = await again.hear("error")
    assert error[0].tag.endswith("}reset")


async def test_a_resumption_is_told_when_what_came_before_is_committed(home: House) -> None:
    alice = await home.talker("alice", "a")
    token = (await alice.enable()).get("id")
    session = next(iter(home.node.hub.sessions.values()))
    session.received += 1
    at = session.undone()
    again = await home.unbound("alice")
    await again.say(f"<resume xmlns='{SM}' previd='{token}' h='0'/>")
    await alice.hear("error")
    assert session.stream is None
    session.done(at)
    resumed = await again.hear("resumed")
    assert resumed.get("h") == "1"
    await again.quiet()
