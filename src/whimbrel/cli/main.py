"""`whimbrel`: one command for everything. This file only lists the commands.

What belongs to the server is loaded when it is called, so that a chat does not pay for it.
"""

import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Annotated

import typer

from whimbrel import __version__
from whimbrel.cli import account, cluster, messages, office, users

app = typer.Typer(
    name="whimbrel",
    help="A messenger whose check marks can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"whimbrel {__version__}")
        raise typer.Exit


@app.callback()
def whimbrel(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """A messenger whose check marks can be trusted."""


# Commands of the server's side: module and function, loaded when they are called.
_SERVER_SIDE = {
    "serve": "whimbrel.cli.serve",
    "restart": "whimbrel.cli.restart",
    "audit": "whimbrel.cli.audit",
    "trace": "whimbrel.cli.trace",
    "backup": "whimbrel.cli.backup",
    "restore": "whimbrel.cli.backup",
    "acts": "whimbrel.cli.office",
    "migrate": "whimbrel.cli.migrate",
    "upgrade": "whimbrel.cli.upgrade",
    "rollback": "whimbrel.cli.upgrade",
    "doctor": "whimbrel.cli.doctor",
    "config": "whimbrel.cli.config",
    "top": "whimbrel.cli.top",
}


def _register_server_side(names: Iterable[str]) -> None:
    for name in names:
        app.command(name)(getattr(import_module(_SERVER_SIDE[name]), name))


def _chat(
    peer: Annotated[str | None, typer.Argument(help="Open this conversation.")] = None,
    account_: Annotated[
        str | None, typer.Option("--account", "-a", help="Which local account.")
    ] = None,
    light: Annotated[bool, typer.Option("--light", help="Dark letters on a light ground.")] = False,
) -> None:
    """Chat in the terminal."""
    from whimbrel.cli.chat import run_chat  # textual takes a moment to load

    run_chat(peer, account_, light)


_COMMANDS: dict[str, Callable[..., None]] = {
    "register": account.register,
    "login": account.login,
    "chat": _chat,
    "send": messages.send,
    "listen": messages.listen,
    "accounts": account.accounts,
    "fingerprint": account.fingerprint,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(users.app, name="user")
app.add_typer(office.app, name="token")
app.add_typer(cluster.app, name="cluster")


def main() -> None:
    """The console script. Loads the server only for those who start one or ask for help."""
    os.umask(0o077)  # keys, conversations, databases, backups: nothing here is for other users
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if words and words[0] in _SERVER_SIDE:
        _register_server_side(words[:1])
    elif not words or words[0] not in (*_COMMANDS, "user", "token", "cluster"):
        _register_server_side(_SERVER_SIDE)
    app(prog_name="whimbrel")


if __name__ == "__main__":
    main()
