"""The registry of sessions: numbers that never come twice, and what sleeping actors left."""

from typing import Any

from whimbrel.domain.ids import NODES_MAX, node_of
from whimbrel.domain.user import Attachment
from whimbrel.node.sessions import Sessions


class Sink:
    account = 0

    def deliver(self, answer: Any) -> None: ...
    def flush(self) -> None: ...


def test_numbers_rise_and_say_on_which_node_they_live() -> None:
    sessions = Sessions(1_000, node=5)
    numbers = [sessions.open(Sink()) for _ in range(50)]
    assert numbers == sorted(set(numbers))
    assert {node_of(number) for number in numbers} == {5}


def test_two_nodes_that_start_at_once_give_different_numbers() -> None:
    first, second = Sessions(1_000, node=0), Sessions(1_000, node=NODES_MAX - 1)
    mine = {first.open(Sink()) for _ in range(50)}
    assert mine.isdisjoint({second.open(Sink()) for _ in range(50)})


def test_after_a_restart_no_number_comes_again() -> None:
    """Within a second nobody opens a million sessions; a restart takes longer than that."""
    before = Sessions(1_000_000)
    last = [before.open(Sink()) for _ in range(10_000)][-1]
    assert Sessions(2_000_000).open(Sink()) > last


def test_a_session_that_was_closed_is_found_no_more_also_when_closed_twice() -> None:
    sessions = Sessions(1)
    sink = Sink()
    number = sessions.open(sink)
    assert sessions.sinks == {number: sink}
    sessions.close(number)
    sessions.close(number)
    assert sessions.sinks == {}


def test_what_a_sleeping_actor_left_is_given_back_once() -> None:
    sessions = Sessions(1)
    attached = {1: Attachment(1, 7, 1, 0)}
    sessions.asleep(42, attached)
    assert sessions.awake(42) is attached
    assert sessions.awake(42) == {}, "it holds them itself now"


def test_an_actor_without_sessions_leaves_nothing_behind() -> None:
    sessions = Sessions(1)
    sessions.asleep(42, {})
    assert sessions.awake(42) == {}
    assert sessions._asleep == {}


def test_after_a_failure_every_session_has_to_attach_anew() -> None:
    sessions = Sessions(1)
    sink = Sink()
    number = sessions.open(sink)
    sessions.asleep(42, {1: Attachment(1, number, 1, 0)})
    sessions.forget_attachments()
    assert sessions.awake(42) == {}
    assert sessions.sinks == {number: sink}, "but the connections are still there"
