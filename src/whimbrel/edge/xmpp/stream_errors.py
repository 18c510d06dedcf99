"""Every stream error of RFC 6120 section 4.9.3: when this server sends it, and what shows that.

Written into docs/xmpp.md by document.py; tests/docs/test_stream_errors.py holds it against the code
and the tests.
"""

from typing import NamedTuple


class Sent(NamedTuple):
    """When a client hears it, and the test that provokes it: file of tests/xmpp, function."""

    when: str
    file: str
    test: str


BEFORE, AFTER = "test_before_the_login", "test_after_the_login_and_others_are_not_harmed"
STREAMS = "test_streams.py"

SENT: dict[str, Sent] = {
    "bad-format": Sent("text between stanzas, a root that is no stream", STREAMS, BEFORE),
    "bad-namespace-prefix": Sent("a prefix that is not declared", STREAMS, BEFORE),
    "conflict": Sent(
        "another client took the resource, or resumed the session",
        "test_roster.py",
        "test_the_same_resource_again_replaces_the_older_client",
    ),
    "connection-timeout": Sent(
        "no login in time, or silence after it",
        STREAMS,
        "test_silence_before_the_login_ends_in_a_timeout",
    ),
    "host-unknown": Sent("`to` names another server", STREAMS, BEFORE),
    "improper-addressing": Sent(
        "a component's stanza without `to`", "test_component.py", "test_stanzas_name_both_ends"
    ),
    "internal-server-error": Sent(
        "a bug of the server: this stream ends, nothing else",
        "test_stream_errors.py",
        "test_a_bug_of_ours_ends_this_stream_only",
    ),
    "invalid-from": Sent("a stanza in somebody else's name", STREAMS, AFTER),
    "invalid-namespace": Sent("another namespace for the stream or its content", STREAMS, BEFORE),
    "not-authorized": Sent("a stanza before the login; a key that was taken", STREAMS, BEFORE),
    "not-well-formed": Sent("what is no XML 1.0 in UTF-8", STREAMS, BEFORE),
    "policy-violation": Sent(
        "too big, too deep, too many attributes or elements; no TLS where it is required; failed "
        "logins",
        STREAMS,
        AFTER,
    ),
    "reset": Sent(
        "a session ended while its client waited to resume it",
        "test_stream_errors.py",
        "test_a_session_that_ends_while_somebody_waits_to_resume_it",
    ),
    "resource-constraint": Sent(
        "too many connections; a server that cannot store now",
        "test_disk_full.py",
        "test_a_full_disk_acknowledges_nothing_and_a_resumption_finds_it_all",
    ),
    "restricted-xml": Sent(
        "a DTD, an entity, a comment, a processing instruction", STREAMS, BEFORE
    ),
    "system-shutdown": Sent("the server goes down", STREAMS, "test_the_server_goes_down_politely"),
    "undefined-condition": Sent(
        "more stanzas acknowledged than were sent (XEP-0198 section 4)",
        "test_dead_phone.py",
        "test_more_acknowledged_than_sent_ends_the_stream",
    ),
    "unsupported-encoding": Sent("an encoding other than UTF-8", STREAMS, BEFORE),
    "unsupported-stanza-type": Sent("what is no message, presence or iq", STREAMS, AFTER),
    "unsupported-version": Sent("a stream before XMPP 1.0", STREAMS, BEFORE),
}

NOT_SENT: dict[str, str] = {
    "host-gone": "a server has one domain, for as long as it runs",
    "invalid-xml": "for servers that validate against a schema; this one does not",
    "remote-connection-failed": "no other server is asked for anything",
    "see-other-host": "any node takes any client; nobody is sent elsewhere",
    "unsupported-feature": "said by the side that is offered a feature; that is the client",
}


def table() -> str:
    lines = [
        "## Stream errors",
        "",
        "All of RFC 6120 section 4.9.3. Each ends the stream and the connection, and is provoked",
        "by a test (in tests/xmpp) that hears it.",
        "",
        "| error | when | test |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {sent.when} | `{sent.file}`: `{sent.test}` |" for name, sent in SENT.items()
    ]
    lines += ["", "Never sent:", "", "| error | why |", "|---|---|"]
    lines += [f"| `{name}` | {why} |" for name, why in NOT_SENT.items()]
    return "\n".join(lines) + "\n"
