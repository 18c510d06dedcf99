"""A file system under SQLite that fails on demand: full, broken writes, broken fsync."""

from collections.abc import Callable
from typing import Any

import apsw

NAME = "whimbrel-faulty"


class Disk:
    """What goes wrong; consulted with ("write" | "sync", file name)."""

    def __init__(self) -> None:
        self.fault: Callable[[str, str], Exception | None] = lambda operation, name: None

    def ask(self, operation: str, name: str) -> None:
        error = self.fault(operation, name)
        if error is not None:
            raise error

    def repair(self) -> None:
        self.fault = lambda operation, name: None

    def full(self) -> None:
        self.fault = lambda op, name: apsw.FullError("injected") if op == "write" else None

    def nearly_full(self, writes: int) -> None:
        """Room for a few more pages, then none."""
        room = iter(range(writes))

        def fault(operation: str, name: str) -> Exception | None:
            if operation != "write" or next(room, None) is not None:
                return None
            return apsw.FullError("injected")

        self.fault = fault

    def broken(self, operation: str, ending: str = "") -> None:
        """Every such operation on files with this ending is an input/output error."""

        def fault(asked: str, name: str) -> Exception | None:
            if asked != operation or not name.endswith(ending):
                return None
            error = apsw.IOError("injected")
            error.extendedresult = (  # type: ignore[attr-defined]
                apsw.SQLITE_IOERR_FSYNC if asked == "sync" else apsw.SQLITE_IOERR_WRITE
            )
            return error

        self.fault = fault


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.ask("write", self._name)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.ask("sync", self._name)
        super().xSync(flags)


class FaultyDisk(apsw.VFS):
    """Registered under NAME while it lives."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(NAME, "")
        self._disk = disk

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self._disk, name, flags)
