"""The ports that a configuration opens, by name and in their order."""

from whimbrel.edge.sockets import Place
from whimbrel.node.config import Config, ConfigError


def places(config: Config) -> list[Place]:
    """Every port that this configuration opens, in their order."""
    listen = config.listen
    hosts = {
        "native": listen.host,
        "native_plain": listen.plain_host,
        "xmpp": listen.host,
        "xmpp_tls": listen.host,
        "xmpp_plain": listen.plain_host,
        "xmpp_component": listen.plain_host if config.xmpp.components else "",
        "https": listen.host,
        "http": listen.plain_host,
    }
    found = [Place(name, host, getattr(listen, name)) for name, host in hosts.items() if host]
    return [place for place in found if place.port >= 0]


def cannot_listen(error: OSError) -> ConfigError:
    where = f"{error.filename}: " if error.filename else ""
    return ConfigError(
        f"listen: {where}{error.strerror or error}; choose another port or stop the other server"
    )
