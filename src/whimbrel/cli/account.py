"""whimbrel register | login | accounts | fingerprint: becoming somebody, and knowing the server."""

import asyncio
import platform
import ssl
import sys
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

import typer

from whimbrel.cli.home import Account, Home, compact
from whimbrel.cli.spoken import run, spoken, wait_online
from whimbrel.client import ClientError, Unreachable, UntrustedCertificate
from whimbrel.client.errors import SignupRefused, wait_text
from whimbrel.client.signup import SignedUp, request_pin, verify
from whimbrel.client.trust import (
    fetch_fingerprint,
    mismatch_text,
    normal_fingerprint,
    shown_fingerprint,
)

DEFAULT_SERVER = "http://127.0.0.1:8080"
TRIES_MAX = 3  # wrong PINs before the command gives up
EVERYWHERE = ("", "0.0.0.0", "::")

AccountOption = Annotated[
    str | None, typer.Option("--account", "-a", help="Which local account; default: the last.")
]


@spoken
def register(
    number: Annotated[str | None, typer.Argument(help="Your number, like +4915112345678.")] = None,
    server: Annotated[
        str, typer.Option("--server", "-s", help="The server's address for sign-up.")
    ] = DEFAULT_SERVER,
    pin: Annotated[str | None, typer.Option("--pin", help="The PIN, if you have it.")] = None,
    name: Annotated[str, typer.Option("--name", help="What to call this device.")] = "",
) -> None:
    """Sign up with a phone number (or again: the old device is logged out)."""
    wanted = compact(number or typer.prompt("Your phone number, with country code"))
    url = signup_url(server)
    if pin is None:
        sent = run(request_pin(url, wanted))
        minutes = max(1, sent.expires_in_s // 60)
        print(f"A PIN for {wanted} is on its way; it is valid for {minutes} minutes.")
        if sent.retry_after_s:
            print(f"Nothing comes? Ask again in {wait_text(sent.retry_after_s)}.")
    account = _with_pin(url, wanted, pin, name or platform.node() or "terminal")
    print(f"You are {account.address} on this terminal now. Start with: whimbrel chat")


def signup_url(server: str) -> str:
    """With a scheme: TLS, except on this machine. The PIN and the key travel over it."""
    if "://" not in server:
        near = _is_here(urlsplit(f"//{server}").hostname)
        return f"http://{server}" if near else f"https://{server}"
    parts = urlsplit(server)
    if parts.scheme != "https" and not _is_here(parts.hostname):
        warning = "everybody on the way can read the PIN and the key; better use https://"
        print(f"warning: {server} is not encrypted: {warning}", file=sys.stderr)
    return server


def _is_here(host: str | None) -> bool:
    if host is None or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _with_pin(url: str, number: str, pin: str | None, name: str) -> Account:
    tries = 1 if pin else TRIES_MAX
    while True:
        tries -= 1
        typed = pin or typer.prompt("PIN").strip().replace(" ", "")
        try:
            signed = run(verify(url, number, typed, name))
        except SignupRefused as error:
            if error.code != "pin-wrong" or not tries:
                raise
            print(f"{error}.")
            continue
        return run(_remember(url, signed))


async def _remember(url: str, signed: SignedUp) -> Account:
    """Trust the certificate on first use; refuse another one later."""
    host = signed.native.host
    if host in EVERYWHERE:
        host = urlsplit(url).hostname or "127.0.0.1"
    port = signed.native.port
    account = Account(
        signed.account, signed.device, signed.key, host, port, url,
        normal_fingerprint(signed.fingerprint), signed.native.tls,
    )  # fmt: skip
    home = Home()
    known = home.known_fingerprint(host, port)
    if account.tls and account.fingerprint:
        shown = await look(host, port)
        if shown != account.fingerprint:
            raise UntrustedCertificate(mismatch_text(host, account.fingerprint, shown))
        if known and known != shown:
            home.save(account_with(account, known))
            raise UntrustedCertificate(mismatch_text(host, known, shown))
    home.save(account)
    return account


@spoken
def login(
    address: Annotated[str, typer.Argument(help="A name or number that an administrator made.")],
    key: Annotated[str | None, typer.Option("--key", help="The key; else it is asked.")] = None,
    device: Annotated[int, typer.Option("--device", help="The device number given.")] = 1,
    host: Annotated[str, typer.Option("--host", help="The server.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Its port for the own protocol.")] = 7443,
) -> None:
    """Use an account whose key you were given (whimbrel user add, or a linked device)."""
    secret = key or typer.prompt("Key", hide_input=True).strip()
    run(_login(Account(compact(address), device, secret, host, port, "")))
    print(f"You are {compact(address)} on this terminal now. Start with: whimbrel chat")


async def _login(account: Account) -> None:
    """Saved only if the server accepts the key."""
    home = Home()
    known = home.known_fingerprint(account.host, account.port)
    account.fingerprint = known or await look(account.host, account.port)
    if not known:
        print(f"First visit: the server shows {shown_fingerprint(account.fingerprint)}")
    async with home.client(account) as client:
        await wait_online(client)
    home.save(account)


def account_with(account: Account, fingerprint: str) -> Account:
    """The key is given only once: it is kept even while the certificate is not trusted."""
    account.fingerprint = fingerprint
    return account


async def look(host: str, port: int) -> str:
    """The certificate the server shows now; raises Unreachable."""
    try:
        return await fetch_fingerprint(host, port)
    except (OSError, TimeoutError, ssl.SSLError, asyncio.IncompleteReadError) as error:
        raise Unreachable(f"{host}:{port} does not answer: {error}") from None


@spoken
def accounts() -> None:
    """List the accounts of this terminal."""
    found, last = Home().accounts()
    if not found:
        print("No account yet. Start with: whimbrel register")
    for one in found:
        mark = "*" if one.address == last else " "
        print(f"{mark} {one.address}  device {one.device}  {one.host}:{one.port}")


@spoken
def fingerprint(
    account: AccountOption = None,
    trust: Annotated[bool, typer.Option("--trust", help="Trust what it shows now.")] = False,
) -> None:
    """Compare the server's certificate with the one trusted first."""
    home = Home()
    one = home.pick(account)
    if not one.tls:
        raise ClientError(f"{one.host}:{one.port} is used without TLS; there is no certificate")
    shown = run(look(one.host, one.port))
    print(f"{one.host}:{one.port} shows {shown_fingerprint(shown)}")
    if shown == one.fingerprint:
        print("This is the trusted one.")
    elif trust:
        home.trust(one.host, one.port, shown)
        print("Trusted from now on.")
    else:
        raise UntrustedCertificate(mismatch_text(one.host, one.fingerprint, shown))
