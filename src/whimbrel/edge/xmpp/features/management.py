"""Stream management (XEP-0198): acknowledgements that mean "on disk", and resumption."""

from whimbrel.edge.xmpp.feature import Feature, Spec
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.edge.xmpp.stream import XmppStream
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element, write
from whimbrel.protocol.xmpp.errors import StreamError


def offers(stream: XmppStream) -> list[Element]:
    session = stream.session
    if not stream.account or (session is not None and session.sm):
        return []
    return [Element(names.SM, "sm")]


def on_nonza(session: XmppSession, element: Element) -> None:
    name = element.name
    if name == "enable":
        _enable(session, element)
    elif not session.sm:
        _failed(session, "unexpected-request")
    elif name == "r":
        session.on_request()
    elif name == "a":
        h = element.get("h")
        if not (h.isascii() and h.isdigit() and len(h) <= 10):
            raise StreamError("bad-format", "h is a number")
        session.on_ack(int(h))
    elif name == "resume":
        _failed(session, "unexpected-request")
    else:
        raise StreamError("unsupported-stanza-type")


def _enable(session: XmppSession, element: Element) -> None:
    if session.sm:
        _failed(session, "unexpected-request")
        return
    write_enabled(session, element)


def write_enabled(session: XmppSession, element: Element) -> None:
    stream = session.stream
    if stream is not None:
        stream.write_stanza(write(enabled(session, element)))
        session.dirty = True


def enabled(session: XmppSession, element: Element) -> Element:
    """Turn it on; what the client is told."""
    resumable = element.get("resume") in ("true", "1")
    session.enable(resumable)
    attributes = {}
    if resumable:
        seconds = str(session.hub.edge.limits.resume_s)
        attributes = {"id": session.token, "resume": "true", "max": seconds}
    return Element(names.SM, "enabled", attributes)


def _failed(session: XmppSession, condition: str) -> None:
    if session.stream is not None:
        session.stream.sm_failed(condition)


FEATURE = Feature(
    name="stream management",
    specs=(
        Spec(
            "XEP-0198",
            "Stream Management",
            "1.6.3",
            note="a stanza is acknowledged when what it asked for is committed",
        ),
    ),
    nonzas={names.SM: on_nonza},
    offers=offers,
)
