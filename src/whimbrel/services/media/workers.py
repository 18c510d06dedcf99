"""The pool of worker processes: started when first needed, killed when they do not answer.

Law: at most `workers` at once; a job that outlives its time costs its worker's life and comes
back as None. Workers get no environment but what Python needs: no keys of stores.
"""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress

import msgspec
import structlog

from whimbrel.domain.media import MediaSettings
from whimbrel.services.media.jobs import Done, Job

log = structlog.get_logger("whimbrel.media")

LINE_BYTES_MAX = 65_536
START_S = 30.0
JOBS_MAX = 200  # then a fresh process: what a library leaks ends here
_KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LANG", "LC_ALL", "TMPDIR")
_decode = msgspec.json.Decoder(Done).decode


class Workers:
    def __init__(self, settings: MediaSettings) -> None:
        self._settings = settings
        self._free = asyncio.Semaphore(settings.workers)
        self._idle: list[tuple[Process, int]] = []
        self._all: set[Process] = set()
        self.killed = 0

    async def do(self, job: Job) -> Done | None:
        """The worker's answer; None if it died or had to be killed."""
        async with self._free:
            process, jobs = self._idle.pop() if self._idle else (await self._start(), 0)
            done = None
            try:
                async with asyncio.timeout(self._settings.worker_s):
                    done = await _ask(process, job)
            except (TimeoutError, OSError, msgspec.DecodeError, ValueError):
                log.warning("a worker of media had to be ended", what=job.what, format=job.format)
            finally:
                if done is None or jobs >= JOBS_MAX:
                    await self._end(process, done is None)
                else:
                    self._idle.append((process, jobs + 1))
            return done

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "whimbrel.services.media.worker",
            str(self._settings.worker_bytes_max),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            limit=LINE_BYTES_MAX,
            start_new_session=True,  # an interrupt at the server's terminal is not meant for it
        )
        self._all.add(process)
        assert process.stdout is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                await process.stdout.readline()
        return process

    async def _end(self, process: Process, kill: bool) -> None:
        self._all.discard(process)
        self.killed += kill
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def close(self) -> None:
        self._idle.clear()
        for process in list(self._all):
            await self._end(process, kill=False)


async def _ask(process: Process, job: Job) -> Done | None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.json.encode(job) + b"\n")
    await process.stdin.drain()
    line = await process.stdout.readline()
    return _decode(line) if line else None
