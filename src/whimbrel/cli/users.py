"""whimbrel user add | list | delete | reset: accounts by name, for the administrator.

Asks the running server (its address and token stand in <data>/admin.json); if none runs,
opens the data folder itself through whimbrel.node.offline.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import aiohttp
import msgspec
import typer

from whimbrel.cli.acting import note_act, user_name
from whimbrel.cli.home import compact
from whimbrel.cli.spoken import run, spoken
from whimbrel.client import ClientError
from whimbrel.domain.discreet import discreet
from whimbrel.domain.errors import BadAddress, Refused, Unready
from whimbrel.domain.ids import parse_address

TIMEOUT_S = 20.0

app = typer.Typer(help="Create, list and remove accounts (for the administrator).")
DataOption = Annotated[
    Path, typer.Option("--data", "-d", help="The server's data folder.", file_okay=False)
]
DEFAULT_DATA = Path("whimbrel-data")


class Admin(msgspec.Struct):
    url: str
    token: str
    __repr__ = discreet


class _Problem(msgspec.Struct):
    code: str
    message: str = ""


class _Problems(msgspec.Struct):
    error: _Problem


@app.command("add")
@spoken
def add(
    address: Annotated[str, typer.Argument(help="A name or a number.")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Create an account; its key is shown once."""
    _show_key(_ask(data, "POST", "", "add", _address(address)))


@app.command("list")
@spoken
def list_users(data: DataOption = DEFAULT_DATA) -> None:
    """List the accounts."""
    after, empty = "", True
    while True:
        found = _ask(data, "GET", f"?after={quote(after)}" if after else "", "list_", "")
        page = found if isinstance(found, dict) else {"users": found}
        for user in page["users"]:
            empty = False
            print(user if isinstance(user, str) else _field(user, "address"))
        after = page.get("next", "")
        if not after:
            break
    if empty:
        print("No accounts yet.")


@app.command("delete")
@spoken
def delete(
    address: Annotated[str, typer.Argument(help="Whose account.")],
    data: DataOption = DEFAULT_DATA,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove an account and everything that waits for it."""
    wanted = _address(address)
    if not yes:
        typer.confirm(f"Remove {wanted} and its messages for good?", abort=True)
    _ask(data, "DELETE", f"/{quote(wanted)}", "delete", wanted)
    print(f"{wanted} is removed.")


@app.command("reset")
@spoken
def reset(
    address: Annotated[str, typer.Argument(help="Whose key.")],
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Give an account a new key; the old one is worthless at once."""
    wanted = _address(address)
    _show_key(_ask(data, "POST", f"/{quote(wanted)}/reset", "reset", wanted))


def _address(text: str) -> str:
    try:
        return parse_address(compact(text))
    except BadAddress as error:
        raise ClientError(str(error)) from None


def _show_key(answer: Any) -> None:
    print(f"account {_field(answer, 'account')}")
    print(f"device  {_field(answer, 'device')}")
    print(f"key     {_field(answer, 'key')}   (shown once; for: whimbrel login)")


def _field(answer: Any, name: str) -> Any:
    """Of a JSON object, or of what whimbrel.node.offline gives."""
    return answer[name] if isinstance(answer, dict) else getattr(answer, name)


def _ask(data: Path, method: str, path: str, offline: str, address: str) -> Any:
    """The running server's answer, or what whimbrel.node.offline gives."""
    admin = admin_of(data)
    if admin is not None:
        body = {"address": address} if method == "POST" and not path else None
        try:
            url = f"{admin.url.rstrip('/')}/admin/users{path}"
            return run(admin_request(method, url, admin, body))
        except aiohttp.ClientConnectorError:
            pass  # it does not run any more: the file is a leftover
    if not data.is_dir():
        raise ClientError(f"there is no data folder {data}; name it with --data")
    from whimbrel.node import offline as folder  # a chat does not pay for the server's code

    action: Callable[..., Any] = getattr(folder, offline)
    try:
        answer = action(data, address) if address else action(data)
    except (Refused, Unready) as error:
        raise ClientError(_TEXTS.get(error.code, str(error))) from None
    if offline in _ACTS:
        note_act(data, _ACTS[offline], address)
    return answer


def admin_of(data: Path) -> Admin | None:
    try:
        return msgspec.json.decode((data / "admin.json").read_bytes(), type=Admin)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        raise ClientError(f"{data / 'admin.json'} is damaged; restart the server") from None


async def admin_request(
    method: str, url: str, admin: Admin, body: Any, texts: dict[str, str] | None = None
) -> Any:
    """texts: what people read for which code of a refusal."""
    headers = {"Authorization": f"Bearer {admin.token}", "X-Whimbrel-User": user_name()}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.request(method, url, json=body) as answer,
        ):
            content = await answer.read()
            if answer.status < 300:
                return msgspec.json.decode(content) if content else {}
            raise _refusal(answer.status, content, texts or _TEXTS)
    except TimeoutError:
        raise ClientError(f"the server at {admin.url} does not answer in time") from None


_ACTS = {"add": "create user", "delete": "delete user", "reset": "reset user"}
_TEXTS = {
    "exists": "this account exists already; for a new key: whimbrel user reset",
    "not-found": "there is no such account; see: whimbrel user list",
}


def _refusal(status: int, content: bytes, texts: dict[str, str]) -> ClientError:
    try:
        problem = msgspec.json.decode(content, type=_Problems).error
    except msgspec.DecodeError:
        return ClientError(f"the server answered {status}")
    return ClientError(texts.get(problem.code) or problem.message or problem.code)
