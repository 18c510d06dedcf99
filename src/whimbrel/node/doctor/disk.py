"""The disk under the data folder: how long an fsync takes, what is left, and what it is."""

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from whimbrel.node.doctor.finding import Finding, Patient, bad, good, unknown, warning

ROUNDS = 40
PAGE = b"\0" * 4096
SLOW_MS, BAD_MS = 15.0, 80.0
IN_MEMORY = ("tmpfs", "ramfs")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph")


def check(patient: Patient) -> list[Finding]:
    folder = _existing(patient.folder)
    return [_speed(folder), _space(folder, patient.config.alerts.disk_free_mib), _kind(folder)]


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above that is there already."""
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return folder


def _speed(folder: Path) -> Finding:
    """As the database's log is written: a page, and fdatasync."""
    took_ms = []
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for _ in range(ROUNDS):
                file.write(PAGE)
                file.flush()
                began = time.perf_counter()
                os.fdatasync(file.fileno())
                took_ms.append((time.perf_counter() - began) * 1e3)
    except OSError as error:
        return unknown("disk speed", f"cannot write in {folder}: {error.strerror}")
    middle, worst = statistics.median(took_ms), max(took_ms)
    text = f"an fsync takes {middle:.2f} ms (worst of {ROUNDS}: {worst:.1f} ms)"
    advice = "every check mark waits for one: put the data on a local SSD, away from busy programs"
    if middle >= BAD_MS:
        return bad("disk speed", text, advice)
    if middle >= SLOW_MS:
        return warning("disk speed", text, advice)
    return good("disk speed", text)


def _space(folder: Path, least_mib: int) -> Finding:
    free_mib = shutil.disk_usage(folder).free / 1_048_576
    text = f"{free_mib:,.0f} MiB left"
    advice = "make room: with none left nothing is acknowledged any more (and nothing lost)"
    if free_mib < least_mib:
        return bad("disk space", text, advice)
    if free_mib < 4 * least_mib:
        return warning("disk space", text, advice)
    return good("disk space", text)


def _kind(folder: Path) -> Finding:
    kind = _file_system(folder)
    if kind in IN_MEMORY:
        text = f"{kind}: gone with the next restart of this machine"
        return bad("file system", text, "name a folder on a disk with data or --data")
    if kind in REMOTE:
        text = f"{kind}: SQLite needs locks and an fsync that a network disk may not keep"
        return warning("file system", text, "name a folder on a local disk")
    return good("file system", kind) if kind else unknown("file system", "cannot be seen here")


def _file_system(folder: Path) -> str:
    """Of the longest mount point above the folder."""
    best, kind = "", ""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, point, of, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = str(folder) == point or str(folder).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, of
    return kind
