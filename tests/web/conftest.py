"""One browser and one server for all tests of this folder; everybody gets a profile of their own.

Law: a test fails if the page said an error or a warning on its console, which includes everything
that the Content-Security-Policy stopped.
"""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from bench.server import Server
from tests.web import chromium
from tests.web.person import Arrive, Person

MANY = """
[signup]
client_free = 100000
per_client = 100000
"""
_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = chromium.where()
    if path is None:
        chromium.missing("no Chromium here (apt-get install chromium, or set CHROMIUM)")
    async with async_playwright() as playwright:
        browser = await chromium.launch(playwright, path)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    with Server(limits=MANY) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """For tests that kill it."""
    with Server(tmp_path, limits=MANY) as server:
        server.native_port, server.http_port = server.ready["native"], server.ready["http"]
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def arrive(browser: Browser, shared_server: Server) -> AsyncIterator[Arrive]:
    """arrive() opens the first page in a new profile; arrive(signed_up=True) is ready to chat."""
    there: list[Person] = []

    async def come(
        *, signed_up: bool = False, server: Server | None = None, **options: Any
    ) -> Person:
        number = f"+49151{os.getpid() % 10_000:04}{next(_numbers):04}"
        person = await Person.arrive(browser, server or shared_server, number, **options)
        there.append(person)
        if signed_up:
            await person.sign_up()
        return person

    yield come
    for person in there:
        await person.context.close()
    complaints = [text for person in there for text in person.complaints]
    assert not complaints, complaints
