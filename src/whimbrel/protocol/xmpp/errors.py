"""Errors of streams (RFC 6120 section 4.9.3) and of stanzas (8.3.3), all that are defined."""

from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.names import CLIENT, STANZA_ERRORS, STREAM_ERRORS, STREAMS

STREAM_CONDITIONS = frozenset(
    {
        "bad-format",
        "bad-namespace-prefix",
        "conflict",
        "connection-timeout",
        "host-gone",
        "host-unknown",
        "improper-addressing",
        "internal-server-error",
        "invalid-from",
        "invalid-namespace",
        "invalid-xml",
        "not-authorized",
        "not-well-formed",
        "policy-violation",
        "remote-connection-failed",
        "reset",
        "resource-constraint",
        "restricted-xml",
        "see-other-host",
        "system-shutdown",
        "undefined-condition",
        "unsupported-encoding",
        "unsupported-feature",
        "unsupported-stanza-type",
        "unsupported-version",
    }
)

# condition -> the type that RFC 6120 recommends
STANZA_CONDITIONS = {
    "bad-request": "modify",
    "conflict": "cancel",
    "feature-not-implemented": "cancel",
    "forbidden": "auth",
    "gone": "cancel",
    "internal-server-error": "cancel",
    "item-not-found": "cancel",
    "jid-malformed": "modify",
    "not-acceptable": "modify",
    "not-allowed": "cancel",
    "not-authorized": "auth",
    "policy-violation": "modify",
    "recipient-unavailable": "wait",
    "redirect": "modify",
    "registration-required": "auth",
    "remote-server-not-found": "cancel",
    "remote-server-timeout": "wait",
    "resource-constraint": "wait",
    "service-unavailable": "cancel",
    "subscription-required": "auth",
    "undefined-condition": "cancel",
    "unexpected-request": "wait",
}


class StreamError(Exception):
    """Ends the stream: the error is sent, then the stream is closed (section 4.9.1.1)."""

    def __init__(self, condition: str, text: str = "") -> None:
        assert condition in STREAM_CONDITIONS, condition
        super().__init__(condition, text)
        self.condition = condition
        self.text = text

    def element(self) -> Element:
        """<stream:error/>, to be written in the stream's own namespace prefix."""
        inside = [Element(STREAM_ERRORS, self.condition)]
        if self.text:
            inside.append(Element(STREAM_ERRORS, "text", {}, self.text))
        return Element(STREAMS, "error", {}, *inside)


def stanza_error(
    stanza: Element, condition: str, text: str = "", type: str = "", app: Element | None = None
) -> Element:
    """The answer of type "error" to a message, presence or iq: addresses swapped, same id
    (section 8.3.1). `app`: an application-specific condition.
    """
    kind = type or STANZA_CONDITIONS[condition]
    error = Element(CLIENT, "error", {"type": kind}, Element(STANZA_ERRORS, condition))
    if text:
        error.nodes.append(Element(STANZA_ERRORS, "text", {}, text))
    if app is not None:
        error.nodes.append(app)
    return answer_to(stanza, "error", error)


def answer_to(stanza: Element, type: str, *nodes: Element) -> Element:
    """A stanza of the same kind back to where `stanza` came from."""
    attributes = {"type": type}
    for name, source in (("id", "id"), ("to", "from"), ("from", "to")):
        if value := stanza.get(source):
            attributes[name] = value
    return Element(CLIENT, stanza.name, attributes, *nodes)
