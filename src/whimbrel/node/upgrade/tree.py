"""Where a version comes from: a checkout, an installed package or a wheel, packed into one file.

Every version is packed before anything looks at it, so that what was checked is what is
loaded, whatever happens to the place it came from. The server packs itself when it starts.
"""

import hashlib
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash
from pathlib import Path

import msgspec

FILES_MAX = 4_000
BYTES_MAX = 40_000_000
PACKAGE, SIMULATOR = "whimbrel", "sim"
SHIPPED_SIMULATOR = "_sim"  # how the simulator travels inside the package (setup.py)
RELOADED = ("whimbrel/logic/", "whimbrel/edge/xmpp/features/")
_VERSION = re.compile(r'^__version__ = "([^"]{1,40})"', re.MULTILINE)


class NotAVersion(Exception):
    """There is no version of Whimbrel at this place. The text is for the operator."""


class Packed(msgspec.Struct, frozen=True):
    """rules: a digest of what can be reloaded; whole: of all code."""

    path: str
    version: str
    rules: str
    whole: str

    @property
    def name(self) -> str:
        return f"{self.version}+{self.rules[:10]}"


def pack(place: Path, into: Path, durable: bool = True, compiled: bool = False) -> Packed:
    """Write a version's files to the archive `into`. Raises NotAVersion.

    durable False: of what can be packed again, quickly and without an fsync.
    """
    try:
        files = _bounded(_wheel(place) if place.is_file() else _folder(place, compiled))
    except (OSError, zipfile.BadZipFile) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise NotAVersion(f"{place} cannot be read: {why}") from None
    if "whimbrel/__init__.py" not in files or "whimbrel/logic/user.py" not in files:
        raise NotAVersion(f"{place} holds no whimbrel/logic/user.py")
    into.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = into.with_name(into.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        packing = zipfile.ZIP_DEFLATED if durable else zipfile.ZIP_STORED
        with zipfile.ZipFile(out, "w", packing, compresslevel=1) as archive:
            for name in sorted(files):
                archive.writestr(name, files[name])
        out.flush()
        if durable:
            os.fsync(out.fileno())
    fresh.rename(into)
    return described(into, files)


def described(path: Path, files: dict[str, bytes] | None = None) -> Packed:
    """What an archive holds."""
    files = files if files is not None else read_all(path)
    found = _VERSION.search(files["whimbrel/__init__.py"].decode("utf-8", "replace"))
    code = sorted(name for name in files if name.startswith("whimbrel/") and name.endswith(".py"))
    return Packed(
        str(path),
        found.group(1) if found else "unknown",
        _digest(files, [name for name in code if name.startswith(RELOADED)]),
        _digest(files, code),
    )


def read_all(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sources(files: dict[str, bytes]) -> dict[str, str]:
    """Modules by dotted name, packages without __init__; raises NotAVersion for odd bytes."""
    found = {}
    for name, data in files.items():
        if name.startswith("whimbrel/") and name.endswith(".py"):
            dotted = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            try:
                found[dotted] = data.decode("utf-8")
            except UnicodeDecodeError:
                raise NotAVersion(f"{name} is not UTF-8 text") from None
    return found


def package_modules(files: dict[str, bytes]) -> frozenset[str]:
    """Which of the modules are packages."""
    return frozenset(
        name.removesuffix("/__init__.py").replace("/", ".")
        for name in files
        if name.endswith("/__init__.py")
    )


def _digest(files: dict[str, bytes], names: list[str]) -> str:
    whole = hashlib.sha256()
    for name in names:
        whole.update(f"{name}\0{len(files[name])}\0".encode())
        whole.update(files[name])
    return whole.hexdigest()


def _bounded(found: Iterator[tuple[str, bytes]]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    size = 0
    for name, data in found:
        size += len(data)
        if size > BYTES_MAX or len(files) >= FILES_MAX:
            raise NotAVersion(f"more than {FILES_MAX} files or {BYTES_MAX} bytes: no Whimbrel")
        files[name] = data
    return files


def _wheel(path: Path) -> Iterator[tuple[str, bytes]]:
    shipped = f"{PACKAGE}/{SHIPPED_SIMULATOR}/"
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename
            if not name.startswith((f"{PACKAGE}/", f"{SIMULATOR}/")) or name.endswith("/"):
                continue
            if ".." in name.split("/") or info.file_size > BYTES_MAX:
                raise NotAVersion(f"{path} holds a file that is none of ours: {name[:80]}")
            if name.startswith(shipped):
                name = f"{SIMULATOR}/{name.removeprefix(shipped)}"
            yield name, archive.read(info)


def _folder(place: Path, compiled: bool) -> Iterator[tuple[str, bytes]]:
    for package in (place / "src" / PACKAGE, place / PACKAGE, place):
        if (package / "logic").is_dir() and (package / "domain").is_dir():
            break
    else:
        raise NotAVersion(f"{place} is no checkout, no installed package and no wheel of Whimbrel")
    yield from _files(package, PACKAGE, compiled)
    for simulator in (package / SHIPPED_SIMULATOR, package.parent.parent / SIMULATOR):
        if (simulator / "world.py").is_file():
            yield from _files(simulator, SIMULATOR, compiled)
            break


def pack_installed(package: Path, into: Path) -> Packed:
    """The running package, with what Python has compiled of it already: a process that is to
    run the same code need not do that again.
    """
    return pack(package, into, durable=False, compiled=True)


def _compiled(path: Path, source: bytes) -> bytes:
    """The cached code of a source file, as one that is valid wherever the file goes
    (PEP 552: flags 1, then the source's hash); b"" if there is none that fits.
    """
    try:
        cached = Path(cache_from_source(str(path))).read_bytes()
        stamp = int(path.stat().st_mtime) & 0xFFFFFFFF, len(source) & 0xFFFFFFFF
    except (OSError, NotImplementedError):
        return b""
    head = MAGIC_NUMBER + bytes(4) + struct.pack("<II", *stamp)
    if not cached.startswith(head):
        return b""
    return MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash(source) + cached[len(head) :]


def _files(folder: Path, called: str, compiled: bool = False) -> Iterator[tuple[str, bytes]]:
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in ("__pycache__", SHIPPED_SIMULATOR))
        for name in sorted(names):
            path = Path(where) / name
            if name.endswith(".pyc") or not stat.S_ISREG(path.stat().st_mode):
                continue
            data = path.read_bytes()
            yield f"{called}/{path.relative_to(folder).as_posix()}", data
            if compiled and name.endswith(".py") and (code := _compiled(path, data)):
                cached = Path(cache_from_source(str(path))).relative_to(folder).as_posix()
                yield f"{called}/{cached}", code
