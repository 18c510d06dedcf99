"""The live feed as a program reads it: connect, follow, and connect again when the server is back.

Knows no screen. A token for reading is enough. Where the server is may change with a restart, so it
is looked up anew for every connection.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec

from whimbrel.cli.users import Admin
from whimbrel.edge.http.shapes import History, Snapshot, UserDetails

PAUSE_S = 1.0
SILENCE_S = 10.0  # a server that says nothing for so long is not there
LINE_BYTES_MAX = 1 << 20
REASONS = {
    401: "the token is wrong, expired or revoked",
    403: "the token may not read",
    404: "there is no administration at this address",
    429: "too many tries; waiting",
    503: "the server is busy or stopping",
}


class Offline(msgspec.Struct, frozen=True):
    reason: str


class NoSuchUser(Exception):
    """Its text says why."""


class Feed:
    """where: the server's address and a token, or None if no server runs."""

    def __init__(self, where: Callable[[], Admin | None], pause_s: float = PAUSE_S) -> None:
        self._where = where
        self._pause_s = pause_s
        self._history = msgspec.json.Decoder(History)
        self._snapshot = msgspec.json.Decoder(Snapshot)

    async def follow(self) -> AsyncIterator[History | Snapshot | Offline]:
        """Without end."""
        while True:
            reason = "no server runs here"
            admin = self._where()
            if admin is not None:
                try:
                    async for event in self._listen(admin):
                        yield event
                    reason = "the server has ended the feed"
                except (aiohttp.ClientConnectorError, ConnectionError):
                    reason = f"nobody answers at {admin.url}"
                except TimeoutError:
                    reason = "the server does not answer"
                except aiohttp.ClientError as error:
                    reason = f"the line broke: {type(error).__name__}"
                except (msgspec.DecodeError, ValueError):
                    reason = "this server speaks another version"
                except _Refused as error:
                    reason = str(error)
            yield Offline(reason)
            await asyncio.sleep(self._pause_s)

    async def _listen(self, admin: Admin) -> AsyncIterator[History | Snapshot]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)
        async with (
            _session(admin, timeout, LINE_BYTES_MAX) as http,
            http.get(f"{admin.url.rstrip('/')}/admin/live") as answer,
        ):
            if answer.status != 200:
                raise _Refused(REASONS.get(answer.status, f"the server answered {answer.status}"))
            name = b""
            async for line in answer.content:
                field, _, value = line.rstrip(b"\n").partition(b": ")
                if field == b"event":
                    name = value
                elif field == b"data" and name == b"history":
                    yield self._history.decode(value)
                elif field == b"data" and name == b"snapshot":
                    yield self._snapshot.decode(value)

    async def user(self, address: str) -> UserDetails:
        """Raises NoSuchUser."""
        from urllib.parse import quote

        admin = self._where()
        if admin is None:
            raise NoSuchUser("no server runs here")
        url = f"{admin.url.rstrip('/')}/admin/users/{quote(address, safe='')}"
        try:
            timeout = aiohttp.ClientTimeout(total=SILENCE_S)
            async with _session(admin, timeout) as http, http.get(url) as answer:
                body = await answer.read()
                if answer.status == 404:
                    raise NoSuchUser("there is no such account")
                if answer.status != 200:
                    raise NoSuchUser(_why(body) or f"the server answered {answer.status}")
                return msgspec.json.decode(body, type=UserDetails)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise NoSuchUser(f"the server does not answer: {type(error).__name__}") from None


class _Refused(Exception):
    pass


def _session(
    admin: Admin, timeout: aiohttp.ClientTimeout, line_bytes: int = 1 << 16
) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {admin.token}"}
    return aiohttp.ClientSession(timeout=timeout, headers=headers, read_bufsize=line_bytes)


def _why(body: bytes) -> str:
    try:
        told: Any = msgspec.json.decode(body)
        return str(told["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""
