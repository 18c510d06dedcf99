"""`whimbrel`: one command for everything. This file only lists the commands.

serve (the server) stands in serve.py and is loaded when it is called, so that a chat does
not pay for a server.
"""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from whimbrel import __version__
from whimbrel.cli import account, messages, users

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


def _register_serve() -> None:
    from whimbrel.cli.serve import serve

    app.command("serve")(serve)


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


def main() -> None:
    """The console script. Loads the server only for those who start one or ask for help."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if not words or words[0] == "serve" or words[0] not in (*_COMMANDS, "user"):
        _register_serve()
    app(prog_name="whimbrel")


if __name__ == "__main__":
    main()
