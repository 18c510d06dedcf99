"""The Python client library: connect, send, receive, resume.

Start with client.py. Imports only whimbrel.protocol and whimbrel.domain, so that it can be
used without a server; the terminal, the tests and other programs use it.
"""

from whimbrel.client.client import Client
from whimbrel.client.errors import (
    ClientError,
    Closed,
    CommandRefused,
    Ended,
    NotAuthorized,
    NotConnected,
    ReplacedElsewhere,
    SignupRefused,
    StoreFailed,
    Undelivered,
    Unreachable,
    UnsupportedVersion,
    UntrustedCertificate,
)
from whimbrel.client.reconnect import Backoff
from whimbrel.client.store import ClientStore, Conversation, Line, MemoryClientStore
from whimbrel.client.trust import Authority, Pinned, Plain, Trust
from whimbrel.client.words import Event, Incoming, SentMessage, Step
from whimbrel.protocol.wire import Content

__all__ = [
    "Authority",
    "Backoff",
    "Client",
    "ClientError",
    "ClientStore",
    "Closed",
    "CommandRefused",
    "Content",
    "Conversation",
    "Ended",
    "Event",
    "Incoming",
    "Line",
    "MemoryClientStore",
    "NotAuthorized",
    "NotConnected",
    "Pinned",
    "Plain",
    "ReplacedElsewhere",
    "SentMessage",
    "SignupRefused",
    "Step",
    "StoreFailed",
    "Trust",
    "Undelivered",
    "Unreachable",
    "UnsupportedVersion",
    "UntrustedCertificate",
]
