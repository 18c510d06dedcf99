"""docs/xmpp.md and docs/doap.xml, made from what the features declare; a test holds them true.

`python -m whimbrel.edge.xmpp.document [doap]`.
"""

import re
import sys
from collections.abc import Iterator

from whimbrel.edge.xmpp.feature import Spec
from whimbrel.edge.xmpp.features import ALL
from whimbrel.edge.xmpp.stream_errors import table

INTRODUCTION = """# XMPP

XMPP clients use Whimbrel with the same accounts as our own clients and under the same laws; which ones
were tried stands below.
This page is made from the code (`make docs`): every feature is one file in `edge/xmpp/features/` that
declares what it speaks.

## Connecting

| | where | |
|---|---|---|
| TCP with STARTTLS | port 5222 (`listen.xmpp`) | nothing is said before TLS |
| TLS from the first byte | port 5223 (`listen.xmpp_tls`) | XEP-0368 |
| WebSocket | `wss://HOST:8443/xmpp-websocket` | found by `/.well-known/host-meta` (XEP-0156) |
| HTTP requests (BOSH) | `https://HOST:8443/http-bind` | found there, too |

The JID is the address and the server's domain (`+4915112345678@chat.example.org`,
`alice@chat.example.org`); the password is the key that sign-up gave. In the browser client, or with
the Python client's `link()`, one makes a further key for an XMPP client: then both show everything.
DNS: `_xmpp-client._tcp` and `_xmpps-client._tcp` name the two ports.

## Components

A program beside the server may answer for a domain of its own (XEP-0114): a bot, a gateway, a server
of rooms.

    [xmpp.components]
    "echo.chat.example.org" = "a secret of 16 letters or more"

It connects to port 5347 (`listen.xmpp_component`; without TLS, so on `listen.plain_host` only) and
speaks as any JID of its domain. What people write to it waits while it is away and is delivered in
order, once: it is asked what every XMPP client is asked (disco#info or a ping), and its answer
confirms what came before. It may write to everybody; who does not want that blocks its domain.

A component is also where notifications go (XEP-0357): a client names it and a node, and is woken by
it when a message waits and no client of the account is there, or when this client's connection died.
At most one a second; nothing of the message is told. A component that answers with an error is not
asked again. Components of other servers cannot be reached: there is no server to server yet.

## What it promises

- `<a/>` (XEP-0198) counts a message when it is on disk, not when it was read from the socket.
- What a client has not acknowledged waits: for its resumption (`limits.resume_s`), then for the
  account's next client, in order, once.
- The second check mark of every sender is the acknowledgement of this client; the blue one is its
  `<displayed/>`. XMPP senders that ask for receipts or markers are told by the server, from the same
  marks.
- A mark for a message of an earlier session, of the sender or of the recipient, is found by the
  name that its sender's client gave it (the newest 1,000 named messages to that peer).
- A disk that is full, or a database that is away: nothing is acknowledged. After three seconds the
  stream is closed with `resource-constraint`; a client that resumes later finds what it had sent
  stored, and what it did not get acknowledged without resuming it sends again.
- Nothing is kept when it was confirmed, unless `limits.archive_s` says so.

Clients without stream management are asked a question that every client answers, and what it answers
confirms what came before. Why it is so: [decision 0013](decisions/0013-xmpp-clients-are-devices.md).

## How big

A stanza may have `limits.stanza_bytes_max` bytes (256 KiB); before the login
`limits.unauthenticated_bytes_max`. A bigger one ends the stream with `policy-violation`. Of a message
at most `limits.body_bytes_max` bytes are stored (48 KiB): its text, for clients of our own, and the
stanza's children with the text once more, so that a text may have about 24,000 letters. A bigger
message comes back with the stanza error `policy-violation` that names the limit; the stream goes on.
"""

CLIENTS = """
## Clients

Each is driven by `make test` (tests/xmpp/clients) against a real server, with the version named here.

| client | logs in | sends | receives | offline | resumes | archive | upload |
|---|---|---|---|---|---|---|---|
| slixmpp 1.17.0 | yes (STARTTLS, SCRAM) | yes | yes | yes | yes | yes | yes |
| nbxmpp 4.2.2 (Gajim's library) | yes (STARTTLS) | yes | yes | yes | yes | yes | yes |
| aioxmpp 0.13.3 | yes (STARTTLS) | yes | yes | yes | yes | no (not spoken) | no (not spoken) |
| profanity 0.13.1 | yes (STARTTLS) | yes | yes | yes | no (not spoken) | by hand: yes | yes |
| mcabber 1.1.2 | yes (STARTTLS) | yes | yes | yes | no (not spoken) | no (not spoken) | no (not spoken) |
| go-sendxmpp 0.5.7 | yes (STARTTLS, TLS) | yes | yes | yes | no (not spoken) | no (not spoken) | yes |
| @xmpp/client 0.14.0 | yes (TLS, SASL2, FAST) | yes | yes | yes | yes | no (not spoken) | no (not spoken) |
| Converse.js 14.0.0 | yes (WebSocket, BOSH) | yes | yes | yes | yes (WebSocket) | yes | yes |

Not tried: Conversations, Gajim, Dino, Monal (no phone and no desktop here).
"""

SUITES = """
## XEP-0479, the compliance suites of 2023

| suite | category | asks for | here |
|---|---|---|---|
| Core, server | core | RFC 6120, RFC 7590, XEP-0030, XEP-0115 | done |
| Core, server | advanced | XEP-0163 (PEP) | with PEP, its own issue |
| Web, server | core | RFC 7395, XEP-0206 (BOSH), XEP-0156 | done |
| IM, server | core | RFC 6121, XEP-0245, XEP-0054 | done |
| IM, server | core | XEP-0280 (carbons), XEP-0191 (blocking), XEP-0313 (archive), XEP-0363 (upload) | done |
| IM, server | advanced | XEP-0398 (avatars), XEP-0163 | with PEP, its own issue |
| IM, server | advanced | XEP-0045 (group chat) | group chat has its own issue |
| Mobile, server | core | XEP-0198, XEP-0352 | done |
| Mobile, server | advanced | XEP-0357 (push) | done |
| A/V, server | core | XEP-0215 | done |
"""


MISSING = """
## Not begun

| document | why |
|---|---|
| XEP-0163 (PEP), 0084, 0398, 0384's key bundles, 0402 | with PEP, its own issue |
| XEP-0045 (group chat) | with groups, their own issue |
| server to server | not meant yet; a JID elsewhere is answered `remote-server-not-found` |
"""


def specs() -> Iterator[tuple[Spec, str]]:
    """(document, name of the feature), RFCs first, by number."""
    found = [(spec, feature.name) for feature in ALL for spec in feature.specs]

    def key(pair: tuple[Spec, str]) -> tuple[bool, int]:
        number = re.search(r"\d+", pair[0].name)
        assert number is not None
        return pair[0].name.startswith("XEP"), int(number.group())

    yield from sorted(found, key=key)


def page() -> str:
    lines = [INTRODUCTION, "## Documents\n", "| document | title | version | status | |"]
    lines.append("|---|---|---|---|---|")
    lines += [
        f"| {spec.name} | {spec.title} | {spec.version} | {spec.status} | {spec.note} |"
        for spec, _ in specs()
    ]
    return "\n".join(lines) + "\n" + MISSING + SUITES + CLIENTS + "\n" + table()


def doap() -> str:
    """The description of a project (DOAP) with its XEPs, as xmpp.org reads it."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"',
        '  xmlns="http://usefulinc.com/ns/doap#" xmlns:xmpp="https://linkmauve.fr/ns/xmpp-doap#">',
        "  <Project>",
        "    <name>Whimbrel</name>",
        '    <shortdesc xml:lang="en">A messenger server whose check marks can be trusted</shortdesc>',
        "    <programming-language>Python</programming-language>",
        "    <os>Linux</os>",
        '    <category rdf:resource="https://linkmauve.fr/ns/xmpp-doap#category-server"/>',
    ]
    for spec, _ in specs():
        number = spec.name.partition(" ")[2] or spec.name.partition("-")[2]
        if spec.name.startswith("RFC"):
            lines.append(f'    <implements rdf:resource="https://xmpp.org/rfcs/rfc{number}.html"/>')
            continue
        number = spec.name.removeprefix("XEP-")
        lines += [
            "    <implements>",
            "      <xmpp:SupportedXep>",
            f'        <xmpp:xep rdf:resource="https://xmpp.org/extensions/xep-{number}.html"/>',
            f"        <xmpp:status>{spec.status}</xmpp:status>",
            *([f"        <xmpp:version>{spec.version}</xmpp:version>"] if spec.version else []),
            *([f"        <xmpp:note>{spec.note}</xmpp:note>"] if spec.note else []),
            "      </xmpp:SupportedXep>",
            "    </implements>",
        ]
    lines += ["  </Project>", "</rdf:RDF>"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(doap() if sys.argv[1:] == ["doap"] else page())
