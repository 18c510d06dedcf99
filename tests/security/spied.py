"""A real server that logs all it can, with planted bugs, and everything it ever said.

`Secrets` are drawn at random; `everything()` gathers terminal, logs and answers; `leaks()` tells
which secret stands where, as it is, as hexadecimal or as Base64.
"""

import asyncio
import base64
import json
import re
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from bench.raw import client_context, frame
from bench.server import Server
from whimbrel.protocol import wire

PATIENCE_S = 20.0
PIN = re.compile(rb"[0-9]{8}")


class Secrets:
    """What must never be seen again; each with the name of what it was."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}  # secret -> what it is

    def new(self, what: str, size: int = 12) -> str:
        """A fresh one: lower-case letters and digits, as an address may have them."""
        secret = "z" + secrets.token_hex(size // 2 + 1)[: size - 1]
        return self.keep(what, secret)

    def keep(self, what: str, secret: str) -> str:
        assert len(secret) >= 8, what
        self.known[secret] = what
        return secret

    def leaks(self, said: dict[str, bytes]) -> list[str]:
        """Each place where a secret stands: "stderr: a body"."""
        return [
            f"{place}: {what}"
            for place, data in said.items()
            for secret, what in self.known.items()
            if any(re.search(form, data) for form in forms(secret.encode()))
        ]


def forms(secret: bytes) -> list[bytes]:
    """As it is (a number not as a part of a longer one), and packed."""
    plain = re.escape(secret)
    if PIN.fullmatch(secret):
        return [rb"(?<![0-9.])" + plain + rb"(?![0-9])"]
    thirds = [base64.b64encode(b"x" * i + secret)[4:-4] for i in range(3)]
    return [plain, secret.hex().encode(), *map(re.escape, thirds)]


class SpiedServer(Server):
    """Debug log in `form`, stdout and stderr apart, PINs into a file."""

    def __init__(self, folder: Path, form: str) -> None:
        super().__init__(folder)
        self.form = form
        self.pins = folder / "pins.jsonl"
        self.answers: dict[str, bytes] = {}

    def start(self) -> None:
        config, ready = self.folder / "whimbrel.toml", self.folder / "ready.json"
        config.write_text(
            '[listen]\nhost = "127.0.0.1"\nnative = 0\nnative_plain = 0\nhttps = 0\nhttp = 0\n'
            "xmpp = 0\nxmpp_tls = 0\n"
            f'[log]\nlevel = "debug"\nformat = "{self.form}"\n'
            f'[sms]\nsender = "file"\n[sms.options]\npath = "{self.pins}"\n'
            "[signup]\npin_digits = 8\nnumber_waits_s = [1]\n[limits]\nhello_bytes_max = 4096\n"
        )
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-X", "dev", "-m", "tests.security.provoked", "serve"]
        command += ["--config", str(config), "--data", str(self.data), "--ready-file", str(ready)]
        with (
            open(self.folder / "stdout", "ab") as out,
            open(self.folder / "stderr", "ab") as err,
        ):
            self.process = subprocess.Popen(command, stdout=out, stderr=err)
        ends = time.monotonic() + 60
        while not ready.exists():
            assert self.process.poll() is None, (self.folder / "stderr").read_text()
            assert time.monotonic() < ends, "not ready within 60 s"
            time.sleep(0.01)
        self.ready = json.loads(ready.read_text())

    def terminal(self) -> str:
        return (self.folder / "stderr").read_text()

    def everything(self) -> dict[str, bytes]:
        """Everything, by place."""
        files = ("stdout", "stderr", "ready.json")
        kept = {name: self.folder / name for name in files}
        return {
            **{name: path.read_bytes() for name, path in kept.items() if path.exists()},
            **self.answers,
        }

    # ---- HTTP ----------------------------------------------------------------------------

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body; the whole answer is kept for leaks()."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ready['http']}{path}", body, headers or {}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                status, heads, content = answer.status, str(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            status, heads, content = error.code, str(error.headers), error.read()
        self.answers[f"{len(self.answers)} {method} {path[:24]}"] = heads.encode() + content
        return status, content

    def post(self, path: str, json_: Any, **headers: str) -> tuple[int, bytes]:
        heads = {"Content-Type": "application/json", **headers}
        return self.ask("POST", path, json.dumps(json_).encode(), heads)

    def pin_of(self, number: str) -> str:
        """The PIN that was sent last."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            lines = self.pins.read_text().splitlines() if self.pins.exists() else []
            for line in reversed(lines):
                sent = json.loads(line)
                if sent["number"] == number:
                    return str(sent["pin"])
            assert time.monotonic() < ends, "no PIN was sent"
            time.sleep(0.01)

    async def raw_http(self, data: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ready["http"])
        writer.write(data)
        async with asyncio.timeout(PATIENCE_S):
            self.answers[f"{len(self.answers)} raw"] = await reader.read()
        writer.close()

    # ---- the own protocol ----------------------------------------------------------------

    async def stranger(self, *frames: wire.Wire | bytes) -> bytes:
        """Say this over TLS; all that is answered until the server closes."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.ready["native"], ssl=client_context()
        )
        for each in frames:
            payload = frame(each) if isinstance(each, wire.Wire) else each
            writer.write(payload)
        answered = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while part := await reader.read(65_536):
                    answered += part
        except (ConnectionError, OSError):
            pass
        writer.close()
        self.answers[f"{len(self.answers)} native"] = answered
        return answered
