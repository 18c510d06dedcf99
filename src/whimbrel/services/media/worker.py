"""A worker process: takes jobs on its input, one JSON line each, and answers in the same way.

Started by workers.py, ends with its input, so that none outlives its server. It bounds itself
before it touches a file: address space for ever, processor time for each job. Whatever kills it
or makes it fail costs a thumbnail and nothing else.
"""

import mmap
import os
import resource
import shutil
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from whimbrel.services.media.clean import CLEANERS, Broken, clean
from whimbrel.services.media.jobs import Done, Job
from whimbrel.services.media.look import Bomb, look
from whimbrel.services.media.places import Box, places_in, take_out

FILES_MAX = 32
COPY_BYTES = 1_048_576


def main(address_bytes_max: int, source: BinaryIO, into: BinaryIO) -> None:
    bound(address_bytes_max)
    decoder = msgspec.json.Decoder(Job)
    into.write(b"ready\n")
    into.flush()
    for line in source:
        job = decoder.decode(line)
        more_time(job.cpu_s)
        into.write(msgspec.json.encode(work(job)) + b"\n")
        into.flush()


def bound(address_bytes_max: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (address_bytes_max, address_bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    os.nice(5)  # messages go first


def more_time(cpu_s: int) -> None:
    """The kernel ends this process `cpu_s` seconds of processor time from now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + cpu_s + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def work(job: Job) -> Done:
    try:
        if job.what == "clean":
            return Done(changed=_clean(job))
        seen = look(Path(job.file), job.family, job.format, job.pixels_max, job.thumbnail_px)
        return Done(seen=seen)
    except Broken:
        return Done("broken")
    except Bomb:
        return Done("bomb")
    except MemoryError:
        return Done("memory")
    except Exception as error:  # libraries raise what they like at bytes of strangers
        return Done(type(error).__name__)


def _clean(job: Job) -> bool:
    """Write a clean copy, durable; False if there is nothing to be taken out."""
    with (
        open(job.file, "rb") as source,
        mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as data,
        memoryview(data) as view,
    ):
        places = places_in(view) if job.format not in CLEANERS else []
        if job.format not in CLEANERS and not places:
            return False
        with open(_private(job.into), "w+b") as into:
            if places:
                _without(places, source, into)
            else:
                clean(view, job.format, into)
            into.flush()
            os.fsync(into.fileno())
    return True


def _without(places: list[Box], source: BinaryIO, into: BinaryIO) -> None:
    shutil.copyfileobj(source, into, COPY_BYTES)
    into.flush()
    with mmap.mmap(into.fileno(), 0) as data, memoryview(data) as view:
        take_out(view, places)
        data.flush()


def _private(file: str) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
