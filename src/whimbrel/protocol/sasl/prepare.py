"""SASLprep (RFC 4013): names and passwords in the one form that both sides compute with."""

import stringprep
import unicodedata

from whimbrel.protocol.sasl.failures import SaslFailure

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """Raises SaslFailure(malformed-request) for what has no such form. Unassigned code points are
    refused, as for stored strings (RFC 3454 section 7).
    """
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c)
    )
    done = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for char in done:
        if stringprep.in_table_a1(char) or any(table(char) for table in _PROHIBITED):
            raise SaslFailure("malformed-request", "a character that has no place here")
    if any(map(stringprep.in_table_d1, done)):  # right to left: RFC 3454 section 6
        ends = stringprep.in_table_d1(done[0]) and stringprep.in_table_d1(done[-1])
        if any(map(stringprep.in_table_d2, done)) or not ends:
            raise SaslFailure("malformed-request", "a mixture of directions")
    return done
