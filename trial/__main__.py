"""`make cluster`: PostgreSQL, NATS, three nodes and a balancer on loopback, until Ctrl-C.

What it starts it also ends; its data is in a temporary folder and gone afterwards.
"""

import argparse
import shutil
import signal
import tempfile
import threading
from pathlib import Path

from tests.postgres import PostgresServer, missing
from trial.balancer import Balancer, haproxy_program
from trial.nats import NatsServer, nats_program
from trial.nodes import Trial

NATIVE, HTTP, XMPP = 7443, 8080, 5222  # of the balancer; the nodes are behind, 10 higher


def main() -> int:
    parser = argparse.ArgumentParser(prog="make cluster", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--any-ports", action="store_true", help="free ports instead of the usual")
    options = parser.parse_args()
    for what in (missing(), "" if nats_program() else "there is no nats-server", _no_haproxy()):
        if what:
            print(f"make cluster: {what}")
            return 1
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    folder = Path(tempfile.mkdtemp(prefix="whimbrel-cluster-"))
    database = nats = trial = balancer = None
    try:
        print("PostgreSQL ...", flush=True)
        database = PostgresServer.make("fsync = on").start()
        database.run("createdb", "-h", "127.0.0.1", "-p", str(database.port), "-U", "whimbrel",
                     "whimbrel")  # fmt: skip
        print("NATS ...", flush=True)
        nats = NatsServer(folder / "nats").start()
        print(f"{options.nodes} nodes ...", flush=True)
        url = database.url("whimbrel")
        pins = f'[sms]\nsender = "file"\n[sms.options]\npath = "{folder}/pins"\n'
        trial = Trial(folder / "nodes", url, nats.url, options.nodes, pins).start()
        ports = (0, 0, 0) if options.any_ports else (NATIVE, HTTP, XMPP)
        balancer = Balancer(folder / "haproxy", trial.nodes, *ports).start()
        print(_what_to_do(folder, trial, balancer), flush=True)
        while not stop.wait(1.0) and any(node.process for node in trial.nodes):
            pass
    except RuntimeError as error:
        print(f"make cluster: {error}")
        return 1
    finally:
        print("stopping ...", flush=True)
        for part in (balancer, trial, nats):
            if part is not None:
                part.stop()
        if database is not None:
            database.remove()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _no_haproxy() -> str:
    return "" if haproxy_program() else "there is no haproxy (apt-get install haproxy)"


def _what_to_do(folder: Path, trial: Trial, balancer: Balancer) -> str:
    config = trial.nodes[0].folder / "whimbrel.toml"
    lines = [
        "",
        f"Open       http://127.0.0.1:{balancer.http} and sign up with any number;",
        f"           PINs are in {folder}/pins",
        f"Own app    127.0.0.1:{balancer.native}    XMPP  127.0.0.1:{balancer.xmpp}",
        "",
        "The nodes behind the balancer:",
        *(
            f"  {node.name}  pid {node.process.pid if node.process else 0}"
            f"  http://127.0.0.1:{node.ready['http']}  log {node.log}"
            for node in trial.nodes
        ),
        "",
        "Try:",
        f"  .venv/bin/whimbrel cluster status --config {config}",
        f"  .venv/bin/whimbrel cluster drain node-1 --config {config}",
        "  kill -9 PID          of a node: its people are back on the others in about 12 s",
        "",
        "Ctrl-C ends all of it, and its data.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
