"""Prometheus' own checker, from Debian's package: of the system, or unpacked by `make test`."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNPACKED = ROOT / ".venv/promtool/usr/bin/promtool"


def promtool(*arguments: str, told: bytes = b"", folder: Path = ROOT) -> str:
    """What it says; fails the test if it is not content, skips it where there is none."""
    command = shutil.which("promtool") or (str(UNPACKED) if UNPACKED.exists() else "")
    if not command:
        pytest.skip("promtool is not here (Debian: prometheus)")
    done = subprocess.run(
        [command, *arguments], input=told, capture_output=True, cwd=folder, timeout=60, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said
