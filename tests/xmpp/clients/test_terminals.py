"""profanity and mcabber in a terminal, go-sendxmpp in a pipe: log in, send, receive, offline."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.xmpp.clients.conftest import Place
from tests.xmpp.clients.terminal import Terminal


def needs(program: str) -> pytest.MarkDecorator:
    missing = shutil.which(program) is None
    return pytest.mark.skipif(missing, reason=f"{program} is not installed (Debian: {program})")


def go_send(place: Place, who: tuple[str, str], to: str, text: str, *more: str) -> str:
    name, key = who
    command = ["go-sendxmpp", "-u", f"{name}@localhost", "-p", key]
    command += ["-j", f"127.0.0.1:{place.port}", *more, f"{to}@localhost"]
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "SSL_CERT_FILE": str(place.certificate)}
    done = subprocess.run(
        command, input=text, text=True, capture_output=True, timeout=60, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class GoListener(Terminal):
    def __init__(self, place: Place, who: tuple[str, str], home: Path) -> None:
        name, key = who
        command = ["go-sendxmpp", "-l", "-u", f"{name}@localhost", "-p", key]
        command += ["-j", f"127.0.0.1:{place.port}"]
        super().__init__(command, home, SSL_CERT_FILE=str(place.certificate))


@needs("go-sendxmpp")
def test_go_sendxmpp_sends_receives_offline_and_uploads(place: Place, tmp_path: Path) -> None:
    alice, bob = place.account("alice"), place.account("bob")
    go_send(place, alice, bob[0], "while you were away")
    with GoListener(place, bob, tmp_path) as listener:
        listener.until("while you were away")
        go_send(place, alice, bob[0], "now")
        listener.until("now")
        go_send(place, alice, bob[0], "inside TLS", "-t", "-j", f"127.0.0.1:{place.tls_port}")
        listener.until("inside TLS")
        picture = tmp_path / "bytes.bin"
        picture.write_bytes(bytes(range(256)) * 400)
        go_send(place, alice, bob[0], "", "-h", str(picture))
        listener.until("/bytes.bin")


@needs("profanity")
@needs("go-sendxmpp")
def test_profanity_logs_in_sends_receives_and_gets_what_waited(
    place: Place, tmp_path: Path
) -> None:
    carl, bob = place.account("carl"), place.account("bob")
    go_send(place, bob, carl[0], "while carl was away")
    with GoListener(place, bob, tmp_path) as listener, Terminal(["profanity"], tmp_path) as screen:
        screen.until("Type '/help'")
        screen.type(f"/connect {carl[0]}@localhost server 127.0.0.1 port {place.port} tls trust")
        screen.until("Enter password")
        screen.type(carl[1])
        screen.until("logged in successfully")
        screen.until("(win 2)")
        screen.type("/win 2")
        screen.until("while carl was away")
        screen.type(f"/msg {bob[0]}@localhost hello from profanity")
        listener.until("hello from profanity")
        go_send(place, bob, carl[0], "hello profanity")
        screen.until("hello profanity")
        notes = tmp_path / "notes.txt"
        notes.write_text("what was uploaded")
        screen.type(f"/sendfile {notes}")
        listener.until("/notes.txt")


MCABBER = """\
set jid = {jid}
set password = {key}
set server = 127.0.0.1
set port = {port}
set tls = 1
set ssl_ignore_checks = 1
set resource = mcabber
set logging = 0
set log_win_height = 10
"""


@needs("mcabber")
@needs("go-sendxmpp")
def test_mcabber_logs_in_sends_receives_and_gets_what_waited(place: Place, tmp_path: Path) -> None:
    dora, bob = place.account("dora"), place.account("bob")
    folder = tmp_path / ".mcabber"
    folder.mkdir(mode=0o700)
    settings = MCABBER.format(jid=f"{dora[0]}@localhost", key=dora[1], port=place.port)
    (folder / "mcabberrc").write_text(settings)
    (folder / "mcabberrc").chmod(0o600)
    go_send(place, bob, dora[0], "while dora was away")
    with GoListener(place, bob, tmp_path) as listener, Terminal(["mcabber"], tmp_path) as screen:
        screen.until("Connection established")
        screen.until(bob[0])
        screen.type(f"/roster search {bob[0]}")
        screen.type("")
        screen.until("while dora was away")
        screen.type(f"/say_to {bob[0]}@localhost hello from mcabber")
        listener.until("hello from mcabber")
        go_send(place, bob, dora[0], "hello mcabber")
        screen.until("hello mcabber")
