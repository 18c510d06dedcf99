"""`whimbrel serve`: start the server and say what to open and type next."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.panel import Panel

from whimbrel.edge.certificate import shown_fingerprint
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, ConfigError, load_config
from whimbrel.node.main import run, set_up_log
from whimbrel.node.processes import Processes, as_child, check


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration file (TOML).")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data folder; default ./whimbrel-data.")
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option("--ready-file", help="Written (JSON) when everything listens."),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Add two accounts that answer: wren and echo.")
    ] = False,
    processes: Annotated[
        int, typer.Option("--processes", help="Nodes on this machine, behind the same ports.")
    ] = 1,
    installed_rules: Annotated[
        bool,
        typer.Option("--installed-rules", help="Do not load accepted upgrades again."),
    ] = False,
) -> None:
    """Start the server. Without options: SQLite in ./whimbrel-data, PINs on this terminal."""
    try:
        settings = load_config(config)
    except ConfigError as error:
        typer.echo(f"whimbrel: {error}", err=True)
        raise typer.Exit(1) from error
    if data is not None:
        settings = msgspec.structs.replace(settings, data=str(data))
    child = as_child(settings)
    if child is not None:
        code = run(child, Path(settings.data), ready_file, lambda node: None)
    elif processes != 1:
        code = _serve_many(settings, config, ready_file, processes)
    else:
        code = run(settings, Path(settings.data), ready_file, announce, demo, installed_rules)
    raise typer.Exit(code)


def _serve_many(settings: Config, file: Path | None, ready_file: Path | None, count: int) -> int:
    try:
        check(settings, count)
    except ConfigError as error:
        typer.echo(f"whimbrel: {error}", err=True)
        return 1
    set_up_log(settings)
    assert file is not None, "there is a store.url"
    return Processes(settings, file, Path(settings.data), ready_file, count).run()


def announce(node: Node) -> None:
    """What a newcomer needs, and nothing else."""
    ports = node.ports
    console = Console(stderr=True, highlight=False)
    lines = [f"[bold]Whimbrel is ready[/bold] for [bold]{node.config.domain}[/bold]", ""]
    if "native" in ports:
        lines.append(f"own protocol  {node.config.listen.host}:{ports['native']}  (TLS 1.3)")
    if "xmpp" in ports:
        both = f", {ports['xmpp_tls']} (TLS)" if "xmpp_tls" in ports else ""
        lines.append(f"XMPP          {node.config.listen.host}:{ports['xmpp']}  (STARTTLS){both}")
    if "https" in ports:
        lines.append(f"sign-up       https://{node.config.listen.host}:{ports['https']}")
    if "http" in ports:
        lines.append(f"this machine  http://{node.config.listen.plain_host}:{ports['http']}")
    lines.append(f"data          {node.folder.resolve()}")
    lines.append(f"certificate   {shown_fingerprint(node.certificate.fingerprint)}")
    if "http" in ports:
        url = f"http://{node.config.listen.plain_host}:{ports['http']}"
        option = "" if ports["http"] == 8080 else f" --server {url}"
        pins = "The PIN appears on this terminal" + (
            f" and at {url}/pins" if node.sender.name == "console" else ""
        )
        lines += [
            "",
            f"[bold]Open[/bold] [cyan]{url}[/cyan] in a browser and sign up with any number.",
            f"A second person: another number in a private window (or {url}/?profile=two).",
            f"Or write to [bold]{'[/bold] or [bold]'.join(node.company)}[/bold]: they answer."
            if node.company
            else "With `--demo` two accounts are there that answer.",
            "",
            "Or in two more terminals:",
            "",
            f"  [cyan].venv/bin/whimbrel register +4915112345678{option}[/cyan]",
            "  [cyan].venv/bin/whimbrel chat[/cyan]",
            "",
            f"{pins}. Ctrl-C stops the server.",
        ]
    console.print(Panel("\n".join(lines), border_style="green", expand=False))
