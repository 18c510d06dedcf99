"""What a block refused: told as ranges before a mark passes over it, and nothing else is.

The answers of the recipient's actor may come in any order (several nodes); the rules are
called directly, because no network is strange enough every time. Found by the simulator.
"""

import pytest

from whimbrel.domain.effects import Effect
from whimbrel.domain.errors import BLOCKED, UNDELIVERABLE
from whimbrel.domain.limits import Limits
from whimbrel.domain.messages import Ack, Receipt
from whimbrel.domain.rows import FAILURE, InboxRow
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import Open, Pair, User
from whimbrel.logic.receipts import on_receipt
from whimbrel.logic.submit import on_ack

ANN, BEN = 1, 2
TURN = Turn(1_000, 1_000, Limits(), 1)


@pytest.fixture
def ann() -> User:
    """She has five messages under way to ben: 11 .. 15."""
    user = User(ANN)
    user.exists, user.address, user.last_id = True, "ann", 15
    pair = user.pairs[BEN] = Pair(BEN, "ben")
    pair.exists = pair.wrote = True
    for id in range(11, 16):
        pair.open[id] = Open(id, 1, id - 10, b"\x80", id)
    user.open_count = 5
    return user


def told(effects: list[Effect]) -> list[tuple[int, int, str]]:
    return [
        (effect.extra, effect.id, effect.code)
        for effect in effects
        if isinstance(effect, InboxRow) and effect.kind == FAILURE
    ]


def answered(ann: User, *answers: tuple[int, str]) -> list[tuple[int, int, str]]:
    return [line for id, code in answers for line in told(on_ack(ann, Ack(BEN, id, code), TURN))]


def marked(ann: User, upto: int) -> list[tuple[int, int, str]]:
    return told(on_receipt(ann, Receipt(BEN, upto, 0, ()), TURN))


def test_a_run_of_refusals_is_one_range_told_when_a_mark_passes_over_it(ann: User) -> None:
    assert answered(ann, (11, BLOCKED), (12, BLOCKED), (13, BLOCKED), (14, "")) == []
    assert marked(ann, 14) == [(11, 13, UNDELIVERABLE)]
    assert marked(ann, 15) == [], "once"


def test_a_range_never_covers_a_message_that_was_stored(ann: User) -> None:
    assert answered(ann, (12, ""), (11, BLOCKED), (13, BLOCKED), (14, ""), (15, "")) == []
    assert marked(ann, 15) == [(11, 11, UNDELIVERABLE), (13, 13, UNDELIVERABLE)]


def test_a_range_never_covers_a_message_that_is_still_open(ann: User) -> None:
    assert answered(ann, (11, BLOCKED), (13, BLOCKED), (12, ""), (14, ""), (15, "")) == []
    assert marked(ann, 15) == [(11, 11, UNDELIVERABLE), (13, 13, UNDELIVERABLE)]


def test_refusals_that_come_in_the_wrong_order_are_told_all_the_same(ann: User) -> None:
    assert answered(ann, (14, BLOCKED), (11, BLOCKED), (12, ""), (13, "")) == []
    assert marked(ann, 13) == [(11, 11, UNDELIVERABLE)], "14 is above the mark"
    assert answered(ann, (15, "")) == []
    assert marked(ann, 15) == [(14, 14, UNDELIVERABLE)]
