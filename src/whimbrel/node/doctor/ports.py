"""Ports: is each of them free, or held by this very server?"""

import socket
from collections.abc import Iterator
from pathlib import Path

from whimbrel.node.doctor.finding import Finding, Patient, bad, good, unknown

LISTENING = "0A"  # /proc/net/tcp, the column st


def check(patient: Patient) -> list[Finding]:
    listen = patient.config.listen
    ours = _listening(patient.pid)
    found = []
    for name, host, port in _ports(patient):
        subject = f"port {name} {port}"
        trouble = "" if port in ours else _cannot_bind(host, port)
        if port in ours:
            found.append(good(subject, "open, held by this server"))
        elif not trouble:
            idle = "; the server runs without it" if patient.pid else ""
            found.append(good(subject, f"free{idle}"))
        elif patient.pid and not ours:
            text = f"taken ({trouble}); whether by this server cannot be seen as this user"
            found.append(unknown(subject, text, "run the doctor as the server's user"))
        else:
            advice = f"stop what holds it (`ss -ltnp sport = :{port}`), or set listen.{name}"
            if "ermission" in trouble:
                advice = (
                    "ports below 1024 want CAP_NET_BIND_SERVICE (deploy/whimbrel.service has it)"
                )
            found.append(bad(subject, trouble, advice))
    if listen.native < 0 and listen.https < 0:
        found.append(bad("ports", "no port for clients is on", "set listen.native or listen.https"))
    return found


def _ports(patient: Patient) -> Iterator[tuple[str, str, int]]:
    listen = patient.config.listen
    plain = ("http", "native_plain", "xmpp_plain", "xmpp_component")
    for name in listen.__struct_fields__:
        port = getattr(listen, name)
        if not isinstance(port, int) or port <= 0:
            continue
        if name == "xmpp_component" and not patient.config.xmpp.components:
            continue
        yield name, listen.plain_host if name in plain else listen.host, port


def _cannot_bind(host: str, port: int) -> str:
    """Why not; "" if it can be had. Given back at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _listening(pid: int) -> set[int]:
    """Ports on which this process accepts; empty if the system does not show them."""
    if not pid:
        return set()
    try:
        sockets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()
    ports = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in sockets:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
