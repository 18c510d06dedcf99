"""`whimbrel config`: what can be set, and whether a file is right."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from whimbrel.node.config import ConfigError, load_config
from whimbrel.node.explain import SECTIONS, Key, about, example, keys


def config(
    explain: Annotated[
        bool, typer.Option("--explain", help="Every key with default, unit and meaning.")
    ] = False,
    check: Annotated[
        Path | None, typer.Option("--check", help="Is this file right? Exit code 1 if not.")
    ] = None,
    example_: Annotated[
        bool, typer.Option("--example", help="A file with every key, all commented out.")
    ] = False,
    only: Annotated[
        str, typer.Argument(help="With --explain: keys and sections that hold this word.")
    ] = "",
) -> None:
    """Explain the configuration, check a file, or print one to begin with."""
    if check is not None:
        try:
            load_config(check)
        except ConfigError as error:
            typer.echo(f"whimbrel: {error}", err=True)
            raise typer.Exit(1) from error
        typer.echo(f"{check} is right.")
    elif example_:
        typer.echo(example(), nl=False)
    elif explain or only:
        _explain(only)
    else:
        typer.echo("Give --explain, --check FILE or --example.", err=True)
        raise typer.Exit(2)


def _explain(word: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    found = [key for key in keys() if word.lower() in f"{key.path} {key.meaning}".lower()]
    if not found:
        typer.echo(f"whimbrel: no key has {word!r} in it", err=True)
        raise typer.Exit(1)
    section = "-"
    for key in found:
        if key.section != section:
            section = key.section
            console.print(_heading(section))
        console.print(_line(key))


def _heading(section: str) -> Text:
    title = f"\n[{section}]" if section else "Top of the file"
    text = Text(title, style="bold")
    if section:
        text.append(f"\n{about(dict(SECTIONS)[section])}", style="not bold italic")
    return text


def _line(key: Key) -> Text:
    line = Text.assemble((f"  {key.name}", "cyan"), " = ", (key.default, "green"))
    tail = "; ".join(filter(None, (key.unit, key.meaning)))
    if tail:
        line.append(f"  {tail}")
    return line
