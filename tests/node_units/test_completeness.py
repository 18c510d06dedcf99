"""Nothing is declared that nobody answers: messages and answers each have a place.

Effects: test_interpreter.py.
"""

import msgspec

from whimbrel.domain import answers, im, messages
from whimbrel.domain.messages import ToActor
from whimbrel.edge import session
from whimbrel.logic import desk, user
from whimbrel.protocol.translate import ANSWERS, item_to_wire


def structs(module: object) -> set[type]:
    """The struct types that a module itself defines, without bases of others."""
    found = {
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == module.__name__  # type: ignore[attr-defined]
    }
    return {kind for kind in found if not kind.__subclasses__()}


def test_every_message_is_answered_by_some_actor() -> None:
    handled = {*user.HANDLERS, *desk.HANDLERS}
    known = structs(messages) | {kind for kind in structs(im) if issubclass(kind, ToActor)}
    assert known - handled == set()
    assert handled - known == set()


def test_every_answer_to_a_session_reaches_its_device_or_is_meant_for_a_caller() -> None:
    for_callers = {
        answers.Description,
        answers.DeviceDescription,  # a part of it
        answers.OpenSend,  # another
        answers.DeskDescription,
        answers.Lock,  # a part of it
        answers.Inspected,
        answers.Proven,
        answers.Registered,
        answers.Removed,
        answers.PinRequested,
        answers.PinRefused,
    }
    spoken = {*ANSWERS, *session._OWN, answers.Item}
    assert structs(answers) - spoken - for_callers == set()
    assert callable(item_to_wire)
