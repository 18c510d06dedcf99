"""HTTP upload (XEP-0363): a slot in the same media store that all clients use, with its limits.

The file is uploaded with one PUT and is there, checked and clean, when that is answered.
"""

import asyncio

from whimbrel.domain.errors import (
    NoSpace,
    QuotaExceeded,
    RateLimited,
    Refused,
    TooBig,
    Unready,
    WrongType,
)
from whimbrel.edge.xmpp.feature import SERVER, Feature, Iq, Spec
from whimbrel.edge.xmpp.features.disco import make_feature, make_field, make_identity
from whimbrel.edge.xmpp.hub import Hub
from whimbrel.edge.xmpp.session import XmppSession
from whimbrel.protocol.xmpp import names
from whimbrel.protocol.xmpp.element import Element

NAME_CHARS_MAX = 255
_tasks: set[asyncio.Task[None]] = set()


def begin(hub: Hub) -> None:
    """A domain of its own: most clients look for one among the server's items."""
    if hub.media is not None:
        service = f"upload.{hub.domain}"
        hub.targets.services[service] = "Files"
        hub.service_info[service] = lambda: _info(hub)


def _info(hub: Hub) -> list[Element]:
    features = [make_feature(name) for name in (names.DISCO_INFO, names.UPLOAD)]
    return [make_identity("store", "file", "Files"), *features, *_forms(hub)]


def _forms(hub: Hub) -> list[Element]:
    """Section 4: the largest file."""
    if hub.media is None:
        return []
    most = str(hub.media.settings.file_bytes_max)
    fields = [
        make_field("FORM_TYPE", (names.UPLOAD,), "hidden"),
        make_field("max-file-size", (most,), "text-single"),
    ]
    return [Element(names.DATA, "x", {"type": "result"}, *fields)]


def on_request(session: XmppSession, iq: Iq) -> None:
    child = iq.child
    name, size = child.get("filename"), child.get("size")
    if iq.type != "get" or not name or not (size.isascii() and size.isdigit() and len(size) < 16):
        iq.error("bad-request")
        return
    if len(name) > NAME_CHARS_MAX or int(size) == 0:
        iq.error("not-acceptable")
        return
    if session.hub.media is None:
        iq.error("service-unavailable")
        return
    type = child.get("content-type", "application/octet-stream")
    task = asyncio.ensure_future(_slot(session, iq, name, int(size), type))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _slot(session: XmppSession, iq: Iq, name: str, size: int, type: str) -> None:
    hub = session.hub
    media = hub.media
    assert media is not None
    try:
        slot = await media.slot(session.account, name, size, type, "", 0)
    except TooBig:
        most = Element(
            names.UPLOAD,
            "file-too-large",
            {},
            Element(names.UPLOAD, "max-file-size", {}, str(media.settings.file_bytes_max)),
        )
        iq.error("not-acceptable", "this file is too big", "modify", most)
    except WrongType:
        iq.error("not-acceptable", "files of this type are not taken", "modify")
    except (QuotaExceeded, RateLimited, NoSpace) as error:
        retry = Element(names.UPLOAD, "retry", {})
        iq.error("resource-constraint", error.code, "wait", retry)
    except (Refused, Unready):
        iq.error("internal-server-error", "", "wait")
    else:
        base = hub.media_base()
        put = Element(names.UPLOAD, "put", {"url": f"{base}{slot.put}"})
        got = Element(names.UPLOAD, "get", {"url": f"{base}{slot.link}"})
        iq.reply(Element(names.UPLOAD, "slot", {}, put, got))
    session.dirty = True
    session.flush()


FEATURE = Feature(
    name="upload",
    specs=(Spec("XEP-0363", "HTTP File Upload", "1.2.0", note="photos lose their place and time"),),
    iqs={(names.UPLOAD, "request", SERVER): on_request},
    begin=begin,
)
