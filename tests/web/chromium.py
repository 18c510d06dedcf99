"""Where the browser is, and how it is started: Debian's Chromium, driven by playwright.

`make test` installs it where it may (apt-get, as root). CHROMIUM names another one.
"""

import os
import shutil
from typing import NoReturn

import pytest
from playwright.async_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def where() -> str | None:
    """The program's path; None if there is none."""
    named = os.environ.get("CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


def missing(what: str) -> NoReturn:
    """Skipped with a word; where CI=true nothing is skipped."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


async def launch(playwright: Playwright, path: str) -> Browser:
    arguments = ["--disable-dev-shm-usage", "--use-fake-ui-for-media-stream"]
    arguments += ["--use-fake-device-for-media-stream", "--disable-gpu", "--disable-sync"]
    arguments += ["--disable-background-networking", "--disable-component-update"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # its sandbox does not start as root
    return await playwright.chromium.launch(executable_path=path, args=arguments)
