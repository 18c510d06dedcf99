"""What the doctor says, and what it looks at."""

from pathlib import Path

import msgspec

from whimbrel.domain.discreet import discreet
from whimbrel.node.config import Config

GOOD, UNKNOWN, WARNING, BAD = "good", "unknown", "warning", "bad"
LEVELS = (GOOD, UNKNOWN, WARNING, BAD)


class Finding(msgspec.Struct, frozen=True):
    """subject: what was looked at; what: what was found; advice: what to do, or ""."""

    subject: str
    level: str
    what: str
    advice: str = ""


class Patient(msgspec.Struct, frozen=True):
    """pid: of the server that runs on this folder; 0: none does."""

    config: Config
    folder: Path
    pid: int = 0
    network: bool = True  # may others be asked
    nameservers: tuple[str, ...] = ()  # instead of the system's
    dns_port: int = 53
    __repr__ = discreet


def good(subject: str, text: str) -> Finding:
    return Finding(subject, GOOD, text)


def unknown(subject: str, text: str, advice: str = "") -> Finding:
    return Finding(subject, UNKNOWN, text, advice)


def warning(subject: str, text: str, advice: str) -> Finding:
    return Finding(subject, WARNING, text, advice)


def bad(subject: str, text: str, advice: str) -> Finding:
    return Finding(subject, BAD, text, advice)


def exit_code(findings: list[Finding]) -> int:
    """0: nothing to do (also where something could not be asked); 1: warnings; 2: bad."""
    levels = {finding.level for finding in findings}
    return 2 if BAD in levels else 1 if WARNING in levels else 0
