"""The probe: every few seconds two accounts of the server's own sign in, and one writes to the
other.

They are ordinary clients over the real port, with TLS, in this process (docs/decisions/0015 says
why not in another one). How long the marks take is what everybody feels; a step that fails is an
alert. What a probe leaves is wiped at once: its line of the ledger goes as soon as it is final.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable

import msgspec

from whimbrel.client import Client, Ended, Pinned, Undelivered
from whimbrel.client.reconnect import Backoff
from whimbrel.client.words import Connection, Event
from whimbrel.domain.errors import Busy, Unready
from whimbrel.domain.ids import PROBES
from whimbrel.node.house import House
from whimbrel.node.probed import Probed
from whimbrel.node.samples import ProbeSettings

CLOSE_S = 2.0


class Place(msgspec.Struct, frozen=True):
    """Where the probe connects, and the certificate that it expects there."""

    host: str
    port: int
    fingerprint: str


class Probe:
    """place: asked before every probe. forget: called after it, wipes what it left."""

    def __init__(
        self,
        settings: ProbeSettings,
        house: House,
        probed: Probed,
        place: Callable[[], Place],
        forget: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._house = house
        self._probed = probed
        self._place = place
        self._forget = forget
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._settings.every_s)
            if not await self.once():
                return

    async def once(self) -> bool:
        """One probe. False: somebody else has the names; there will be none."""
        step = "the probe's accounts"
        try:
            keys = [await self._house.keys(name) for name in PROBES]
        except (Busy, Unready) as error:
            self._probed.broke(step, str(error) or error.code)
            return True
        if keys[0] is None or keys[1] is None:
            return False
        here = self._place()
        trust, backoff = Pinned(here.fingerprint), Backoff(0.1, 1.0)
        sender, reader = (
            _Client(name, *key, here.host, here.port, trust=trust, agent="probe", backoff=backoff)
            for name, key in zip(PROBES, (keys[0], keys[1]), strict=True)
        )
        talk = _Talk(sender, reader, self._probed)
        try:
            async with asyncio.timeout(self._settings.patience_s):
                await talk.play()
        except TimeoutError:
            self._probed.broke(talk.step, talk.why or f"not within {self._settings.patience_s:g} s")
        except (Ended, Undelivered) as error:
            self._probed.broke(talk.step, str(error))
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await asyncio.gather(sender.shut(), reader.shut())
            self._forget()
        return True


class _Client(Client):
    """Remembers why it is not connected."""

    why = ""
    opened = False

    def event(self, event: Event) -> None:
        if isinstance(event, Connection):
            self.why = event.reason if event.state == "offline" else self.why
            if event.state == "online":
                self.why = ""
        super().event(event)

    async def open(self) -> None:
        self.opened = True
        await self.__aenter__()

    async def shut(self) -> None:
        if self.opened:
            await self.close()


class _Talk:
    """From nothing to the second check mark; `step` is where it stands."""

    def __init__(self, sender: _Client, reader: _Client, probed: Probed) -> None:
        self.step = "sign in"
        self._sender = sender
        self._reader = reader
        self._probed = probed

    @property
    def why(self) -> str:
        return self._sender.why or self._reader.why

    async def play(self) -> None:
        began_s = time.monotonic()
        for client in (self._reader, self._sender):
            await client.open()
        for client in (self._reader, self._sender):
            await client.online()
        self._probed.signed_in.observe(int((time.monotonic() - began_s) * 1e6))
        self.step, word = "first check mark", secrets.token_hex(8)
        sent_s = self._probed.began_s = time.monotonic()
        sent = await self._sender.send(PROBES[1], word)
        await sent.stored
        self._probed.first_mark.observe(int((time.monotonic() - sent_s) * 1e6))
        self.step = "arrival"
        messages = self._reader.messages()
        async for message in messages:  # also what an earlier probe has left
            if message.text == word:
                break
        messages.handled()
        self.step = "second check mark"
        await sent.delivered
        self._probed.succeeded(time.monotonic() - sent_s)
