"""A terminal's home in a temporary folder."""

from pathlib import Path

import pytest

from whimbrel.cli.home import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("WHIMBREL_HOME", str(tmp_path / "home"))
    return Home()
