"""Waiting for a condition of the outside, with a bound: the run fails if it does not come."""

import asyncio
import time
from collections.abc import Callable

STEP_S = 0.01


async def until(
    holds: Callable[[], bool], seconds: float, what: str, step_s: float = STEP_S
) -> None:
    """Raises TimeoutError saying what did not happen."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(step_s)


async def settled(read: Callable[[], float], seconds: float, step_s: float = 1.0) -> float:
    """The value of `read` once three readings in a row differ by less than 0.2%."""
    end = time.monotonic() + seconds
    values = [read()]
    while time.monotonic() < end:
        await asyncio.sleep(step_s)
        values.append(read())
        last = values[-3:]
        if len(last) == 3 and max(last) - min(last) < 0.002 * max(last):
            break
    return values[-1]
