"""Message archive (XEP-0313): what the operator chose to keep, in pages (XEP-0059).

By default nothing is kept (law 4) and this feature is not offered. An archive id is a time in
microseconds that rises within the account, so that searches by time and by id are one.
"""

from datetime import UTC, datetime

from whimbrel.domain import im
from whimbrel.edge.xmpp.feature import ACCOUNT, Feature, Iq, Spec
from whimbrel.edge.xmpp.messages import message_text, stamp_of
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.protocol.xmpp import chat, names
from whimbrel.protocol.xmpp.element import Element
from whimbrel.protocol.xmpp.jid import JidMalformed

END = 1 << 62
IDS_MAX = 100
KNOWN = ("FORM_TYPE", "with", "start", "end", "before-id", "after-id", "ids", "include-groupchat")


class _Wrong(Exception):
    """(condition, text) of the answer."""


def on_query(session: XmppSession, iq: Iq) -> None:
    if iq.type == "get":
        _form(iq)
        return
    try:
        fields = _fields(iq.child)
        peer, after, before, ids = _filter(session, fields)
        limit, last, after, before = _page(session, iq.child, after, before)
    except _Wrong as wrong:
        iq.error(*wrong.args)
        return
    query_id = iq.child.get("queryid")
    flip = iq.child.find(names.MAM, "flip-page") is not None

    def then(got: im.ArchiveGot) -> None:
        rows = reversed(got.rows) if flip else got.rows
        for row in rows:
            session.send(_result(session, query_id, row))
        iq.reply(_fin(got, last))

    device, number = session.device, session.number
    asked = session.ask(
        lambda tag: im.ArchiveGet(
            device, number, tag, peer, after, before, max(limit, 1), last, ids
        ),
        then if limit else lambda got: iq.reply(_count_only(got)),
        iq.unanswered,
    )
    if not asked:
        iq.error("resource-constraint")


def _form(iq: Iq) -> None:
    """Section 4.1.1: which fields may be asked by."""
    kinds = {"with": "jid-single", "ids": "list-multi"}
    fields = [
        Element(names.DATA, "field", {"type": "hidden", "var": "FORM_TYPE"},
                Element(names.DATA, "value", {}, names.MAM)),
        *(
            Element(names.DATA, "field", {"type": kinds.get(name, "text-single"), "var": name})
            for name in KNOWN[1:-1]
        ),
    ]  # fmt: skip
    form = Element(names.DATA, "x", {"type": "form"}, *fields)
    iq.reply(Element(names.MAM, "query", {}, form))


def _fields(query: Element) -> dict[str, list[str]]:
    form = query.find(names.DATA, "x")
    if form is None:
        return {}
    found = {
        field.get("var"): [value.text for value in field.children() if value.name == "value"]
        for field in form.children()
        if field.name == "field"
    }
    if found.get("FORM_TYPE") != [names.MAM]:
        raise _Wrong("bad-request", "the form's FORM_TYPE is not that of the archive")
    unknown = set(found) - set(KNOWN)
    if unknown:
        raise _Wrong("feature-not-implemented", f"no such field: {sorted(unknown)[0][:64]}")
    return found


def _filter(
    session: XmppSession, fields: dict[str, list[str]]
) -> tuple[int, int, int, tuple[int, ...]]:
    peer, after, before = 0, 0, END
    if fields.get("with"):
        try:
            target = session.hub.targets.find(fields["with"][0])
        except JidMalformed:
            raise _Wrong("jid-malformed") from None
        peer = target.number or session.hub.targets.number_of(
            session.hub.targets.row_address(target.jid.bare)
        )
    if fields.get("start"):
        after = max(after, _time(fields["start"][0]) - 1)
    if fields.get("end"):
        before = min(before, _time(fields["end"][0]) + 1)
    if fields.get("after-id"):
        after = max(after, _id(fields["after-id"][0]))
    if fields.get("before-id"):
        before = min(before, _id(fields["before-id"][0]))
    ids = tuple(_id(text) for text in fields.get("ids", ()))
    if len(ids) > IDS_MAX:
        raise _Wrong("not-acceptable", f"at most {IDS_MAX} ids")
    return peer, after, before, ids


def _time(text: str) -> int:
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise _Wrong("bad-request", "a time looks like 2026-11-23T10:00:00Z") from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    try:
        return int(at.timestamp() * 1_000_000)
    except (OverflowError, ValueError):
        raise _Wrong("bad-request", "a time looks like 2026-11-23T10:00:00Z") from None


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise _Wrong("item-not-found", "no such id")
    return int(text)


def _page(
    session: XmppSession, query: Element, after: int, before: int
) -> tuple[int, bool, int, int]:
    """XEP-0059: (at most so many, the newest of them?, after, before)."""
    most = session.hub.edge.limits.archive_page_max
    rsm = query.find(names.RSM, "set")
    if rsm is None:
        return most, False, after, before
    text = rsm.child_text(names.RSM, "max")
    limit = most
    if text is not None:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise _Wrong("bad-request", "max is a number")
        limit = min(most, int(text))
    if rsm.find(names.RSM, "index") is not None:
        raise _Wrong("feature-not-implemented", "pages are asked for by id")
    start = rsm.child_text(names.RSM, "after")
    if start:
        after = max(after, _id(start))
    end = rsm.child_text(names.RSM, "before")
    if end:
        before = min(before, _id(end))
    return limit, end is not None, after, before


def _result(session: XmppSession, query_id: str, row: tuple[int, str, bool, bytes]) -> bytes:
    id, address, out, data = row
    body = chat.unpack(data)
    part = body.xmpp
    kind, message_id, lang, inner = chat.inside_of(body, id, session.hub.file_address)
    sender, named = (part.sender, part.resource) if part is not None else ("", "")
    full = session.hub.targets.full_jid
    if out:
        own, other = full(session.address, sender), full(address, named)
        inside = message_text(own, other, kind, message_id, lang, inner)
    else:
        own, other = full(session.address, named), full(address, sender)
        inside = message_text(other, own, kind, message_id, lang, inner)
    inside = inside.replace("<message ", f"<message xmlns='{names.CLIENT}' ", 1)
    about = f" queryid='{chat.quote(query_id)}'" if query_id else ""
    return (
        f"<message from='{chat.quote(session.bare)}' to='{chat.quote(session.jid)}'>"
        f"<result xmlns='{names.MAM}'{about} id='{id}'><forwarded xmlns='{names.FORWARD}'>"
        f"<delay xmlns='{names.DELAY}' stamp='{stamp_of(id)}'/>{inside}"
        "</forwarded></result></message>"
    ).encode()


def _fin(got: im.ArchiveGot, last: bool) -> Element:
    inside = []
    if got.rows:
        inside.append(Element(names.RSM, "first", {}, str(got.rows[0][0])))
        inside.append(Element(names.RSM, "last", {}, str(got.rows[-1][0])))
    inside.append(Element(names.RSM, "count", {}, str(got.count)))
    about = {} if got.more else {"complete": "true"}
    return Element(names.MAM, "fin", about, Element(names.RSM, "set", {}, *inside))


def _count_only(got: im.ArchiveGot) -> Element:
    """XEP-0059 section 2.7: max 0 asks only how many there are."""
    count = Element(names.RSM, "count", {}, str(got.count))
    about = {} if got.count else {"complete": "true"}
    return Element(names.MAM, "fin", about, Element(names.RSM, "set", {}, count))


def on_metadata(session: XmppSession, iq: Iq) -> None:
    """Section 4.2: the oldest and the newest."""
    device, number = session.device, session.number

    def newest(oldest: tuple[int, ...], got: im.ArchiveGot) -> None:
        ends = [*oldest, *(row[0] for row in got.rows)]
        told = [
            Element(names.MAM, name, {"id": str(id), "timestamp": stamp_of(id)})
            for name, id in zip(("start", "end"), ends, strict=False)
        ]
        iq.reply(Element(names.MAM, "metadata", {}, *told))

    def oldest(got: im.ArchiveGot) -> None:
        first = tuple(row[0] for row in got.rows)
        session.ask(
            lambda tag: im.ArchiveGet(device, number, tag, 0, 0, END, 1, True, ()),
            lambda more: newest(first, more),
            iq.unanswered,
        )

    make = lambda tag: im.ArchiveGet(device, number, tag, 0, 0, END, 1, False, ())  # noqa: E731
    if not session.ask(make, oldest, iq.unanswered):
        iq.error("resource-constraint")


def on_preferences(session: XmppSession, iq: Iq) -> None:
    """Section 7: the operator decides for all, so that there is nothing to choose."""
    if iq.type == "set" and iq.child.get("default") != "always":
        iq.error("not-allowed", "the operator decides what is kept")
        return
    lists = [Element(names.MAM, "always"), Element(names.MAM, "never")]
    iq.reply(Element(names.MAM, "prefs", {"default": "always"}, *lists))


FEATURE = Feature(
    name="archive",
    specs=(
        Spec("XEP-0313", "Message Archive Management", "1.1.3", note="if limits.archive_s is set"),
        Spec("XEP-0059", "Result Set Management", "1.0", note="by id, not by index"),
        Spec("XEP-0359", "Unique and Stable Stanza IDs", "0.7.0"),
        Spec(
            "XEP-0441",
            "Message Archive Management Preferences",
            "0.2.0",
            "partial",
            "the operator decides for all what is kept: another wish is refused as not-allowed",
        ),
    ),
    account=(names.MAM, f"{names.MAM}#extended", names.SIDS, names.RSM),
    iqs={
        (names.MAM, "query", ACCOUNT): on_query,
        (names.MAM, "metadata", ACCOUNT): on_metadata,
        (names.MAM, "prefs", ACCOUNT): on_preferences,
    },
)
