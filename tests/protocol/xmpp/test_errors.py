"""Every stream error and every stanza error, in the form of RFC 6120."""

import pytest

from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import (
    STANZA_CONDITIONS,
    STREAM_CONDITIONS,
    StreamError,
    answer_to,
    stanza_error,
)
from whimbrel.protocol.xmpp.names import CLIENT, STANZA_ERRORS, STREAM_ERRORS, STREAMS


@pytest.mark.parametrize("condition", sorted(STREAM_CONDITIONS))
def test_every_stream_error_can_be_said(condition: str) -> None:
    element = StreamError(condition, "why").element()
    assert (element.ns, element.name) == (STREAMS, "error")
    assert [(child.ns, child.name) for child in element.children()] == [
        (STREAM_ERRORS, condition),
        (STREAM_ERRORS, "text"),
    ]


def test_a_condition_that_is_not_defined_cannot_be_said() -> None:
    with pytest.raises(AssertionError):
        StreamError("no-such-thing")
    with pytest.raises(KeyError):
        stanza_error(Element(CLIENT, "iq"), "no-such-thing")


@pytest.mark.parametrize("condition", sorted(STANZA_CONDITIONS))
def test_every_stanza_error_goes_back_to_where_the_stanza_came_from(condition: str) -> None:
    sent = Element(CLIENT, "iq", {"type": "get", "id": "7", "from": "a@b/c", "to": "d@b"})
    answer = stanza_error(sent, condition, "why")
    assert answer.attributes == {"type": "error", "id": "7", "to": "a@b/c", "from": "d@b"}
    error = answer.find(CLIENT, "error")
    assert error is not None
    assert error.get("type") == STANZA_CONDITIONS[condition]
    assert error.find(STANZA_ERRORS, condition) is not None
    assert error.child_text(STANZA_ERRORS, "text") == "why"


def test_an_application_may_add_its_own_condition() -> None:
    app = Element("urn:app", "too-many")
    answer = stanza_error(Element(CLIENT, "message"), "not-allowed", type="wait", app=app)
    assert write(answer) == (
        b'<message type="error"><error type="wait">'
        b'<not-allowed xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>'
        b'<too-many xmlns="urn:app"/></error></message>'
    )


def test_an_answer_without_addresses_has_none() -> None:
    assert answer_to(Element(CLIENT, "iq", {"id": "1"}), "result").attributes == {
        "type": "result",
        "id": "1",
    }
