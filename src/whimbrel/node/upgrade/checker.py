"""Runs check.py in a process of its own and reads its lines. Blocks: call it in a thread.

A process, because new code may hang, and because checking takes seconds that the server's loop
does not have. It gets a time limit, a folder that is removed, and no part of the server.
"""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from whimbrel.node.upgrade.order import Order, Step

BOOT = """
import sys, zipfile
work, running = sys.argv[1:3]
with zipfile.ZipFile(running) as archive:
    archive.extractall(work + "/running")
sys.path.insert(0, work + "/running")
from whimbrel.node.upgrade.check import main
sys.exit(main(sys.argv[3:]))
"""
SAID_MAX = 2_000


class Checker:
    """One check. `stop()` may be called from any thread."""

    def __init__(self, on_step: Callable[[Step], None]) -> None:
        self._on_step = on_step
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self.stopped = False

    def run(
        self,
        running: Path,
        candidate: Path,
        base: Path | None,
        root: str,
        worlds: int,
        seconds: float,
        fast: bool,
    ) -> tuple[str, bytes]:
        """(refusal or "", the compiled modules)."""
        with tempfile.TemporaryDirectory(prefix="whimbrel-upgrade-") as work:
            code = Path(work) / "code"
            order = Order(
                str(running),
                str(candidate),
                str(base or ""),
                root,
                str(code),
                work,
                worlds,
                seconds,
                fast,
            )
            refusal = self._process_of(order)
            return refusal, b"" if refusal else code.read_bytes()

    def _process_of(self, order: Order) -> str:
        command = [sys.executable, "-P", "-c", BOOT, order.work, order.running]
        command.append(msgspec.json.encode(order).decode())
        with self._lock:
            if self.stopped:
                return "given up"
            process = self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        too_late = threading.Timer(order.seconds, process.kill)
        too_late.start()
        last: Step | None = None
        assert process.stdout is not None
        assert process.stderr is not None
        said: list[bytes] = []
        listener = threading.Thread(target=_drain, args=(process.stderr, said))
        listener.start()
        try:
            for line in process.stdout:
                last = msgspec.json.decode(line, type=Step)
                self._on_step(last)
        except msgspec.DecodeError:
            process.kill()
        finally:
            process.wait()
            late = not too_late.is_alive()
            too_late.cancel()
            listener.join()
            process.stdout.close()
            process.stderr.close()
        if self.stopped:
            return "given up"
        if last is not None and last.result == "refused":
            return f"{last.name}: {last.text}"
        if process.returncode or last is None or last.result != "ok":
            step = last.name if last is not None else "begin"
            why = f"not done within {order.seconds:.0f} s" if late else _last_line(said)
            return f"{step}: {why}"
        return ""

    def stop(self) -> None:
        with self._lock:
            self.stopped = True
            if self._process is not None:
                self._process.kill()


def _drain(pipe: object, said: list[bytes]) -> None:
    """The last words, bounded."""
    for line in pipe:  # type: ignore[attr-defined]
        said[:] = [*said, line][-20:]


def _last_line(said: list[bytes]) -> str:
    text = said[-1].decode("utf-8", "replace").strip() if said else "it ended without a word"
    return f"the check itself failed ({text[:300]})"
