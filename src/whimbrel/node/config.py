"""The configuration: one TOML file, read once, checked whole, passed down.

Every key has a default. A mistake names its key and says what to write instead.
"""

import re
import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from msgspec.structs import replace

from whimbrel.cluster.bus import BusSettings
from whimbrel.domain.desk import SignupLimits
from whimbrel.domain.discreet import discreet
from whimbrel.domain.limits import Limits
from whimbrel.domain.media import MediaSettings
from whimbrel.edge.http.origin import normal_origin
from whimbrel.edge.xmpp.settings import XmppSettings
from whimbrel.node.samples import AlertSettings, ProbeSettings
from whimbrel.node.upgrade.settings import UpgradeSettings

MAY_BE_ZERO = ("archive_s",)  # of the limits: 0 means off
NUMBER_MAX = 10**12  # microseconds of so many seconds still fit a row's 64 bits


class ConfigError(Exception):
    """Says which key is wrong and what it wants."""


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses and ports; port 0: any free one, -1: off."""

    host: str = "0.0.0.0"
    native: int = 7443  # own protocol over TLS 1.3
    native_plain: int = -1  # the same without TLS, on plain_host only (a TLS terminator, bench)
    https: int = 8443
    http: int = 8080  # on plain_host only
    xmpp: int = 5222  # XMPP clients, with STARTTLS
    xmpp_tls: int = 5223  # the same inside TLS from the first byte (XEP-0368)
    xmpp_component: int = 5347  # XEP-0114, on plain_host, if xmpp.components names any
    xmpp_plain: int = -1  # the same without TLS, on plain_host only (behind a terminator, bench)
    plain_host: str = "127.0.0.1"
    shared: bool = False  # other processes of this installation listen on the same ports


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Empty: a self-signed certificate is made in the data folder on first start."""

    certificate: str = ""
    key: str = ""
    __repr__ = discreet


class Sms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How PINs reach telephones. `sender`: console, twilio, webhook or file."""

    sender: str = "console"
    options: dict[str, Any] = {}
    __repr__ = discreet


class Web(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may come by HTTP from elsewhere."""

    origins: tuple[str, ...] = ()  # further sites whose pages may connect: "https://example.org"
    trusted_proxies: tuple[str, ...] = ()  # networks whose X-Forwarded-For is believed
    admin_anywhere: bool = False  # administration from other machines too, with a token


class Restart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How `whimbrel restart` goes about it."""

    logins_per_s: int = 1_000  # clients that are asked to come back in one second
    prepare_s: float = 60.0  # for the new process, until it has all but the database
    healthy_s: float = 30.0  # and then, until it serves; after that the old one goes on


class StoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the rows are. Empty: SQLite in the data folder, for one process."""

    url: str = ""  # of PostgreSQL: "postgresql://whimbrel:PASSWORD@10.0.0.5/whimbrel"
    password_file: str = ""  # a file with the password, in the place of one in url
    unsafe: bool = False  # also one with fsync or full_page_writes off: for trials, never else
    __repr__ = discreet

    def mistake(self) -> str:
        """What is wrong, beginning with the key; empty if all is well."""
        if self.url and urlsplit(self.url).scheme not in ("postgresql", "postgres"):
            return 'url: write "postgresql://USER:PASSWORD@HOST/DATABASE", or "" for SQLite'
        if self.password_file and not urlsplit(self.url).username:
            return 'password_file: url has to name a user: "postgresql://USER@HOST/DATABASE"'
        if self.password_file and urlsplit(self.url).password:
            return "password_file: give the password there or in url, not in both"
        return ""


class NodeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who this process is among others of one installation."""

    name: str = ""  # stays the same over restarts; "": the machine's name and the data folder
    address: str = ""  # where people find it, for `whimbrel cluster status`
    media: str = ""  # a folder for files that all nodes share (also NFS); "": data folder
    inside: str = "127.0.0.1:0"  # where other nodes ask this one (HTTP); of several machines each
    # its own address in a network that is theirs alone, like "10.0.0.11:8090"

    @property
    def inside_place(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.inside.rpartition(":")
        return host.strip("[]"), int(port)

    def mistake(self) -> str:
        """What is wrong, beginning with the key; empty if all is well."""
        host, _, port = self.inside.rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
            return 'inside: write an address and a port, like "10.0.0.11:8090"'
        return ""


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str = "pretty"  # or json
    level: str = "info"


class Traces(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The way of some messages as OpenTelemetry traces; wants `pip install whimbrel[otel]`."""

    on: bool = False
    endpoint: str = "http://127.0.0.1:4318/v1/traces"  # OTLP over HTTP
    share: float = 0.01  # of all messages, from 0 to 1

    def mistake(self) -> str:
        """What is wrong with it, or ""."""
        if not 0 <= self.share <= 1:
            return "share: write a number from 0 to 1"
        if not self.endpoint.startswith(("http://", "https://")):
            return "endpoint: write an address that begins with https:// or http://"
        return ""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    domain: str = "localhost"
    data: str = "whimbrel-data"
    default_region: str = ""  # for phone numbers without a country code, like "DE"
    listen: Listen = Listen()
    tls: Tls = Tls()
    sms: Sms = Sms()
    web: Web = Web()
    log: Log = Log()
    store: StoreSettings = StoreSettings()
    bus: BusSettings = BusSettings()
    node: NodeSettings = NodeSettings()
    limits: Limits = Limits()
    signup: SignupLimits = SignupLimits()
    media: MediaSettings = MediaSettings()
    xmpp: XmppSettings = XmppSettings()
    alerts: AlertSettings = AlertSettings()
    upgrade: UpgradeSettings = UpgradeSettings()
    probe: ProbeSettings = ProbeSettings()
    traces: Traces = Traces()
    restart: Restart = Restart()


def load_config(path: Path | None) -> Config:
    """Read and check the file; raises ConfigError with the key's name."""
    if path is None:
        return Config()
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except RecursionError:
        raise ConfigError(f"{path} is not valid TOML: nested too deeply") from None
    stranger = _stranger(raw, Config)
    if stranger:
        raise ConfigError(f"{path}: {stranger}")
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_plain(str(error))}") from error
    _check(config)
    return _with_passwords(config)


def _with_passwords(config: Config) -> Config:
    """Passwords that lie in files of their own (Docker's and Kubernetes' secrets) are read here."""
    store, bus = config.store, config.bus
    if store.password_file:
        password = quote(_secret(store.password_file, "store.password_file"), safe="")
        user, _, rest = store.url.partition("@")
        store = replace(store, url=f"{user}:{password}@{rest}", password_file="")
    if bus.password_file:
        bus = replace(
            bus, password=_secret(bus.password_file, "bus.password_file"), password_file=""
        )
    return replace(config, store=store, bus=bus)


def _secret(file: str, key: str) -> str:
    try:
        text = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"{key}: {file} cannot be read: {why}") from None
    if not text:
        raise ConfigError(f"{key}: {file} is empty")
    return text


def _stranger(raw: dict[str, Any], kind: type[msgspec.Struct], above: str = "") -> str:
    """The first key that nobody would read, and what may be meant; empty if there is none."""
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in raw.items():
        if key not in types:
            near = get_close_matches(key, types, 1)
            return f"{above}{key}: there is no such key" + (f", but {near[0]}" if near else "")
        inner = types[key]
        if isinstance(value, dict) and isinstance(inner, type):
            stranger = _stranger(value, inner, f"{above}{key}.") if _is_table(inner) else ""
            if stranger:
                return stranger
    return ""


def _is_table(kind: type) -> bool:
    return issubclass(kind, msgspec.Struct)


def _numbers(table: msgspec.Struct) -> Iterator[tuple[str, float]]:
    """All numbers of a table by key, also those in lists and by prefix."""
    for name in table.__struct_fields__:
        value = getattr(table, name)
        values = value.values() if isinstance(value, dict) else value
        for number in values if not isinstance(value, int | float) else (value,):
            yield name, number


def _plain(text: str) -> str:
    """msgspec says "... - at `$.listen.native`"; people want the key first."""
    what, _, where = text.partition(" - at `$.")
    return f"{where.rstrip('`')}: {what}" if where else text


def _check(config: Config) -> None:
    if not config.domain:
        raise ConfigError('domain: write the name of the server, like "chat.example.org"')
    if not config.data:
        raise ConfigError('data: write a folder, like "whimbrel-data"')
    if not re.fullmatch("([A-Z]{2})?", config.default_region):
        raise ConfigError('default_region: write two capital letters, like "DE", or ""')
    for name in ("host", "plain_host"):
        if not getattr(config.listen, name):
            raise ConfigError(f'listen.{name}: write an address, like "127.0.0.1"')
    for name in Listen.__struct_fields__:
        port = getattr(config.listen, name)
        if isinstance(port, str | bool):
            continue
        if not -1 <= port <= 65535:
            raise ConfigError(f"listen.{name}: write a port from 0 to 65535, or -1 for off")
    if bool(config.tls.certificate) != bool(config.tls.key):
        raise ConfigError("tls: give both certificate and key, or none of them")
    _check_web(config.web)
    if config.log.format not in ("pretty", "json"):
        raise ConfigError('log.format: write "pretty" or "json"')
    if config.log.level not in ("debug", "info", "warning", "error"):
        raise ConfigError('log.level: write "debug", "info", "warning" or "error"')
    mistake = config.signup.mistake()
    if mistake:
        raise ConfigError(f"signup.{mistake}")
    mistake = config.xmpp.mistake(config.domain)
    if mistake:
        raise ConfigError(f"xmpp.{mistake}")
    mistake = config.alerts.mistake()
    if mistake:
        raise ConfigError(f"alerts.{mistake}")
    mistake = config.upgrade.mistake()
    if mistake:
        raise ConfigError(f"upgrade.{mistake}")
    mistake = config.traces.mistake()
    if mistake:
        raise ConfigError(f"traces.{mistake}")
    mistake = config.probe.mistake()
    if mistake:
        raise ConfigError(f"probe.{mistake}")
    _check_cluster(config)
    mistake = config.media.mistake()
    if mistake:
        raise ConfigError(f"media.{mistake}")
    for name, number in _numbers(config.restart):
        if not 0 < number < NUMBER_MAX:
            raise ConfigError(f"restart.{name}: write a number above 0")
    limits = config.limits
    for name, number in _numbers(limits):
        if not (number > 0 or (number == 0 and name in MAY_BE_ZERO)) or number >= NUMBER_MAX:
            raise ConfigError(f"limits.{name}: write a number above 0 and below {NUMBER_MAX:,}")
    for name, number in _numbers(config.signup):
        if not number < NUMBER_MAX:
            raise ConfigError(f"signup.{name}: write a number below {NUMBER_MAX:,}")
    if limits.body_bytes_max > limits.frame_bytes_max - 1_024:
        raise ConfigError("limits.body_bytes_max: leave 1,024 bytes of the frame to its envelope")


def _check_cluster(config: Config) -> None:
    for name in ("store", "bus", "node"):
        mistake = getattr(config, name).mistake()
        if mistake:
            raise ConfigError(f"{name}.{mistake}")
    if config.store.url and not config.bus.url:
        raise ConfigError(
            'bus.url: several nodes need NATS to reach each other: write "nats://HOST:4222"'
        )
    if config.bus.url and not config.store.url:
        raise ConfigError(
            "store.url: several nodes need a PostgreSQL that all of them reach: "
            'write "postgresql://USER:PASSWORD@HOST/DATABASE"'
        )


def _check_web(web: Web) -> None:
    for origin in web.origins:
        try:
            normal_origin(origin)
        except ValueError:
            raise ConfigError(
                f'web.origins: "{origin}" is no origin; write "https://chat.example.org"'
            ) from None
    for network in web.trusted_proxies:
        try:
            ip_network(network)
        except ValueError:
            raise ConfigError(
                f'web.trusted_proxies: "{network}" is no network; write "10.0.0.0/8"'
            ) from None
