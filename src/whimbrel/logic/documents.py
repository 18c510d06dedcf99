"""Documents and lists that an account's clients keep here: vCards, private storage (XEP-0049),
who is blocked (XEP-0191), and what they called the messages that a receipt speaks of.
"""

from whimbrel.domain.answers import Gone
from whimbrel.domain.effects import Effect, Push
from whimbrel.domain.errors import QuotaExceeded, Replaced, TooBig
from whimbrel.domain.im import (
    ArchiveGet,
    ArchiveGot,
    BlockedGet,
    BlockedGot,
    DocumentGet,
    DocumentGot,
    DocumentSet,
    Done,
    PeerDocument,
    RefsGet,
    RefsGot,
)
from whimbrel.domain.messages import ForgetArchive
from whimbrel.domain.rows import ArchiveForget, DocumentGone, DocumentRow
from whimbrel.domain.turn import Turn
from whimbrel.domain.user import User
from whimbrel.domain.wants import (
    ArchivePage,
    ArchiveWant,
    BlockedWant,
    DocumentsWant,
    DocumentWant,
    NotLoaded,
    RefsWant,
)
from whimbrel.domain.wants import Want as AnyWant

REFS_MAX = 1_000  # receipts told by name for one item


def _read(user: User, want: AnyWant) -> object:
    if want not in user.loaded:
        raise NotLoaded(want)
    return user.loaded.pop(want)


def on_document_get(user: User, m: DocumentGet, turn: Turn) -> list[Effect]:
    row = _read(user, DocumentWant(user.number, m.name))
    return [Push(m.session, DocumentGot(m.tag, row.body if isinstance(row, DocumentRow) else None))]


def on_peer_document(user: User, m: PeerDocument, turn: Turn) -> list[Effect]:
    """For others: only documents that are public by their kind are asked for here."""
    row = _read(user, DocumentWant(user.number, m.name))
    body = row.body if isinstance(row, DocumentRow) and user.exists else None
    return [Push(m.session, DocumentGot(m.tag, body))]


def on_document_set(user: User, m: DocumentSet, turn: Turn) -> list[Effect]:
    if m.device not in user.devices:
        return [Push(m.session, Gone(Replaced.code))]
    if not m.body:
        return [DocumentGone(user.number, m.name), Push(m.session, Done(m.tag))]
    limits = turn.limits
    if len(m.body) > limits.document_bytes_max:
        return [Push(m.session, Done(m.tag, TooBig.code))]
    sizes = dict(_read(user, DocumentsWant(user.number)))  # type: ignore[call-overload]
    sizes[m.name] = len(m.body)
    if len(sizes) > limits.documents_max or sum(sizes.values()) > limits.documents_bytes_max:
        return [Push(m.session, Done(m.tag, QuotaExceeded.code))]
    return [
        DocumentRow(user.number, m.name, turn.now_us, m.body),
        Push(m.session, Done(m.tag)),
    ]


def on_archive_get(user: User, m: ArchiveGet, turn: Turn) -> list[Effect]:
    limit = min(m.limit, turn.limits.archive_page_max)
    want = ArchiveWant(user.number, m.peer, m.after, m.before, limit, m.last, m.ids)
    page = _read(user, want)
    assert isinstance(page, ArchivePage)
    rows = tuple((row.id, row.address, row.out, row.body) for row in page.rows)
    return [Push(m.session, ArchiveGot(m.tag, rows, page.count, page.more))]


def on_archive_forget(user: User, m: ForgetArchive, turn: Turn) -> list[Effect]:
    return [ArchiveForget(user.number, m.before_us)]


def on_blocked_get(user: User, m: BlockedGet, turn: Turn) -> list[Effect]:
    addresses: list[str] = _read(user, BlockedWant(user.number))  # type: ignore[assignment]
    return [Push(m.session, BlockedGot(m.tag, tuple(addresses)))]


def on_refs_get(user: User, m: RefsGet, turn: Turn) -> list[Effect]:
    want = RefsWant(user.number, m.peer, m.after, m.upto, REFS_MAX)
    refs: list[tuple[int, str]] = _read(user, want)  # type: ignore[assignment]
    return [Push(m.session, RefsGot(m.tag, tuple(refs)))]
