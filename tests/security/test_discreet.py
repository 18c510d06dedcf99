"""A repr that hides secrets is still a repr: every kind of record has one, also an empty one."""

from whimbrel.domain.answers import Gone, UnknownSession


def test_a_struct_without_fields_has_a_repr() -> None:
    assert repr(UnknownSession()) == "UnknownSession()"
    assert repr(Gone("replaced")) == "Gone(code='replaced')"
