"""A name server of a few lines on loopback: A and SRV records that the test gives (RFC 1035)."""

import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

A, SRV = 1, 33
KINDS = {A: "A", SRV: "SRV"}
NXDOMAIN = 3

Answers = Mapping[tuple[str, str], str | int]


@contextmanager
def name_server(answers: Answers) -> Iterator[int]:
    """Its port. A: an address; SRV: a port of the name's own domain."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as served:
        served.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(served, answers), daemon=True)
        thread.start()
        try:
            yield served.getsockname()[1]
        finally:
            served.sendto(b"", served.getsockname())  # the end
            thread.join()


def _serve(served: socket.socket, answers: Answers) -> None:
    while True:
        asked, client = served.recvfrom(4_096)
        if not asked:
            return
        served.sendto(_answer(asked, answers), client)


def _answer(asked: bytes, answers: Answers) -> bytes:
    name, end = _name(asked, 12)
    (kind,) = struct.unpack_from(">H", asked, end)
    known = any(each == name.lower() for each, _ in answers)
    value = answers.get((name.lower(), KINDS.get(kind, "")))
    data = b""
    if isinstance(value, str):
        data = socket.inet_aton(value)
    elif value is not None:
        target = name.partition("._tcp.")[2]
        data = struct.pack(">HHH", 0, 5, value) + _packed(target)
    flags = 0x8180 | (0 if known else NXDOMAIN)
    head = asked[:2] + struct.pack(">HHHHH", flags, 1, 1 if data else 0, 0, 0)
    record = struct.pack(">HHHIH", 0xC00C, kind, 1, 60, len(data)) + data if data else b""
    return head + asked[12 : end + 4] + record


def _name(data: bytes, at: int) -> tuple[str, int]:
    labels = []
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), at + 1


def _packed(name: str) -> bytes:
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    return labels + b"\0"
