"""aioxmpp and nbxmpp (Gajim's library), as Debian packs them: chat, offline, resume, archive."""

import asyncio
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.xmpp.clients.conftest import Place
from tests.xmpp.clients.middle import Middle
from tests.xmpp.clients.test_python import PATIENCE_S, client, jid

SYSTEM = "/usr/bin/python3"
HERE = Path(__file__).parent


def needs(module: str) -> pytest.MarkDecorator:
    found = (
        Path(SYSTEM).exists()
        and not subprocess.run(
            [SYSTEM, "-c", f"import {module}"], capture_output=True, check=False
        ).returncode
    )
    reason = f"{module} is not installed (Debian: python3-{module})"
    return pytest.mark.skipif(not found, reason=reason)


class Program:
    """A client in a process of its own; lines() are what it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def line(self, start: str) -> str:
        """The next line that begins so."""
        assert self.process.stdout is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while data := await self.process.stdout.readline():
                    self.lines.append(data.decode().rstrip())
                    if self.lines[-1].startswith(start):
                        return self.lines[-1]
        raise AssertionError("\n".join(self.lines))


async def run(script: str, port: int, who: tuple[str, str], peer: str) -> Program:
    command = [SYSTEM, "-W", "ignore", str(HERE / script), str(port), *who, peer]
    return Program(
        await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    )


@pytest.mark.parametrize(
    "library",
    [pytest.param(each, marks=needs(each)) for each in ("aioxmpp", "nbxmpp")],
)
async def test_a_library_chats_gets_what_waited_and_resumes(place: Place, library: str) -> None:
    alice, bob = place.account("alice"), place.account("bob")
    async with client(place, bob) as b, Middle(place.port) as middle:
        b.send_message(mto=jid(alice), mbody="while you were away", mtype="chat")
        program = await run(f"{library}_chat.py", middle.port, alice, bob[0])
        try:
            await program.line("online")
            await program.line("heard while you were away")
            assert await b.text() == f"hello from {library}"
            middle.cut()
            for n in range(5):
                b.send_message(mto=jid(alice), mbody=f"meanwhile {n}", mtype="chat")
            await program.line("resumed")
            for n in range(5):
                await program.line(f"heard meanwhile {n}")
            if library == "nbxmpp":
                b.send_message(mto=jid(alice), mbody="archive", mtype="chat")
                assert await program.line("kept") == "kept while you were away"
                await program.line("archive complete")
                b.send_message(mto=jid(alice), mbody="upload", mtype="chat")
                await program.line("put 201")
                await program.line("got a fish")
            heard = [line for line in program.lines if line.startswith("heard meanwhile")]
            assert heard == [f"heard meanwhile {n}" for n in range(5)]
            b.send_message(mto=jid(alice), mbody="bye", mtype="chat")
            await asyncio.wait_for(program.process.wait(), PATIENCE_S)
        finally:
            if program.process.returncode is None:
                program.process.kill()
                await program.process.wait()
