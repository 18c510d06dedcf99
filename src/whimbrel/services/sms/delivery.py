"""One HTTP request to a provider, tried a few times. Used by twilio.py and webhook.py.

Tried again: time-outs, broken connections, 429 and 5xx. All tries together end before the
number may ask for its next PIN (a minute), so that a failure is never booked on a later PIN.
Law: what is sent and what is answered never reach a log or an error's text; both may hold the
PIN or a token. Redirects are not followed: secrets go where the configuration says, only there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import aiohttp

from whimbrel.domain.errors import SmsFailed

TRIES = 3
TRY_S = 10.0
FIRST_WAIT_S = 0.5

Sleep = Callable[[float], Awaitable[None]]


class Delivery:
    """A client session that is opened with the first request and closed with the server."""

    def __init__(self, try_s: float = TRY_S, sleep: Sleep = asyncio.sleep) -> None:
        self._try_s = try_s
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        good: frozenset[int],
        headers: Mapping[str, str] | None = None,
        data: bytes | Mapping[str, str] | None = None,
    ) -> None:
        """Returns when the provider said yes; raises SmsFailed when it will not."""
        why = ""
        for attempt in range(TRIES):
            if attempt:
                await self._sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
            try:
                status = await self._once(method, url, headers, data)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                why = f"no answer ({type(error).__name__})"
                continue
            if status in good:
                return
            why = f"the provider answered {status}"
            if status != 429 and status < 500:
                break
        raise SmsFailed(why)

    async def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        data: bytes | Mapping[str, str] | None,
    ) -> int:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._try_s)
            self._session = aiohttp.ClientSession(
                timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        async with self._session.request(
            method, url, headers=headers, data=data, allow_redirects=False
        ) as answer:
            return answer.status

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
