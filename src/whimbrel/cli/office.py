"""`whimbrel token` and `whimbrel acts`: who may administer, and what was done.

Asks the running server; if none runs, works on the files in the data folder. Either way it is
written down in the audit log.
"""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import aiohttp
import msgspec
import typer
from rich.console import Console
from rich.table import Table

from whimbrel.cli.acting import by_hand, note_act, now_us
from whimbrel.cli.printable import printable
from whimbrel.cli.spoken import run, spoken
from whimbrel.cli.users import DEFAULT_DATA, DataOption, admin_of, admin_request
from whimbrel.client import ClientError
from whimbrel.domain.errors import Refused, Unready

SCOPES = ("read", "users", "operate", "admin")
app = typer.Typer(help="Tokens of administration: create, list, revoke.", no_args_is_help=True)
_TEXTS = {
    "exists": "there is a token of this name already; revoke it first",
    "not-found": "there is no such token; see: whimbrel token list",
    "busy": "there are too many tokens; revoke some",
}


@app.command("create")
@spoken
def create(
    name: Annotated[str, typer.Argument(help="What it is for, like grafana.")],
    scope: Annotated[
        list[str], typer.Option("--scope", "-s", help="read, users, operate or admin.")
    ] = ["read"],  # noqa: B006
    days: Annotated[int, typer.Option("--days", help="Until it expires; 0: never.")] = 0,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Make a token; it is shown once."""
    from whimbrel.edge.http.shapes import NewToken, TokenShown

    wrong = [each for each in scope if each not in SCOPES]
    if wrong:
        raise ClientError(f"there is no scope {printable(wrong[0])}; write {', '.join(SCOPES)}")
    try:
        new = msgspec.convert(msgspec.to_builtins(NewToken(name, scope, days)), NewToken)
    except msgspec.ValidationError:
        raise ClientError(
            "a name has a-z, 0-9, . _ - and at most 40 characters; days are 0 to 3650"
        ) from None

    def offline() -> Any:
        return _file(data).create(new.name, new.scopes, new.days, by_hand())

    body = msgspec.to_builtins(new)
    answer = _ask(data, "POST", "/admin/tokens", body, offline, "create token", name)
    shown = msgspec.convert(answer, TokenShown, from_attributes=True)
    print(f"name    {shown.name}")
    print(f"scopes  {', '.join(shown.scopes)}")
    print(f"until   {_when(shown.expires_us) if shown.expires_us else 'it is revoked'}")
    print(f"token   {shown.token}   (shown once)")


@app.command("list")
@spoken
def list_tokens(data: DataOption = DEFAULT_DATA) -> None:
    """List the tokens; what is kept of them is a hash."""
    from whimbrel.edge.http.shapes import Tokens

    answer = _ask(data, "GET", "/admin/tokens", None, lambda: Tokens(_file(data).lines()))
    found = msgspec.convert(answer, Tokens, from_attributes=True)
    if not found.tokens:
        print("No tokens yet, besides admin.token in the data folder.")
        return
    table = Table("name", "scopes", "made", "by", "until", "last used", box=None, pad_edge=False)
    for line in found.tokens:
        table.add_row(
            line.name,
            ", ".join(line.scopes),
            _when(line.created_us),
            printable(line.by),
            _when(line.expires_us) if line.expires_us else "",
            _when(line.last_used_us) if line.last_used_us else "",
        )
    Console(highlight=False).print(table)


@app.command("revoke")
@spoken
def revoke(
    name: Annotated[str, typer.Argument(help="Which one.")], data: DataOption = DEFAULT_DATA
) -> None:
    """Make a token worthless at once."""

    def offline() -> Any:
        return _file(data).revoke(name)

    path = f"/admin/tokens/{quote(name, safe='')}"
    _ask(data, "DELETE", path, None, offline, "revoke token", name)
    print(f"{printable(name)} is worthless now.")


@spoken
def acts(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 50,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """What administrators did, the newest last."""
    from whimbrel.node.acts import ActLog

    if not data.is_dir():
        raise ClientError(f"there is no data folder {data}; name it with --data")
    page = ActLog(data, now_us).read(0, limit)
    if not page.acts:
        print("No administrative acts yet.")
        return
    table = Table("when", "who", "what", "on", "result", "from", box=None, pad_edge=False)
    for act in reversed(page.acts):
        row = (act.who, act.what, act.on, act.result, act.source)
        table.add_row(_when(act.at_us), *map(printable, row))
    Console(highlight=False).print(table)


# ---- the running server, or the files ---------------------------------------------------


def _ask(
    data: Any, method: str, path: str, body: Any, offline: Any, act: str = "", on: str = ""
) -> Any:
    admin = admin_of(data)
    if admin is not None:
        try:
            return run(admin_request(method, f"{admin.url.rstrip('/')}{path}", admin, body, _TEXTS))
        except aiohttp.ClientConnectorError:
            pass  # it does not run any more: the file is a leftover
    if not data.is_dir():
        raise ClientError(f"there is no data folder {data}; name it with --data")
    try:
        answer = offline()
    except (Refused, Unready) as error:
        raise ClientError(_TEXTS.get(error.code, str(error))) from None
    if act:
        note_act(data, act, on)
    return answer


def _file(data: Any) -> Any:
    from whimbrel.node.tokens import TokenFile

    return TokenFile(data, now_us)


def _when(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
