"""All scenarios by name, with their sizes: whole, and quick."""

from collections.abc import Callable
from typing import NamedTuple

from bench import backlog, chatting, connections, media, million, offline, restarts
from bench.figures import Figures
from bench.ways import NATIVE_PLAIN, NATIVE_TLS, WEB_PLAIN, WEB_TLS, Way


class Scenario(NamedTuple):
    name: str
    run: Callable[[bool], Figures]  # argument: quick?


def _closed(way: Way, pairs: int, window: int) -> Scenario:
    def scene(quick: bool) -> Figures:
        warm_s, seconds = (1.0, 2.0) if quick else (3.0, 8.0)
        return chatting.closed(way, pairs, window, warm_s, seconds)

    return Scenario(f"{way.name}_{pairs}x{window}", scene)


def _opened(way: Way) -> Scenario:
    def scene(quick: bool) -> Figures:
        return chatting.opened(way, 500, 500, 1.0 if quick else 3.0, 3.0 if quick else 15.0)

    return Scenario(f"{way.name}_500ps", scene)


def _idle(way: Way) -> Scenario:
    def scene(quick: bool) -> Figures:
        return connections.idle(way, 500 if quick else 5_000)

    return Scenario(f"{way.name}_idle", scene)


def _restarts(quick: bool) -> Figures:
    if quick:
        return restarts.restarts(20, 2, 200.0, 4.0)
    return restarts.restarts(100, 10, 500.0, 6.0)


def _logins(quick: bool) -> Figures:
    return connections.logins(200, 2.0) if quick else connections.logins(2_000, 8.0)


def _offline(quick: bool) -> Figures:
    return offline.offline(20, 100) if quick else offline.offline(100, 300)


def _backlog(quick: bool) -> Figures:
    return backlog.backlog(5_000, 200, 2.0) if quick else backlog.backlog(100_000, 200, 5.0)


def _million(quick: bool) -> Figures:
    return million.million(20_000, 2_000) if quick else million.million(1_000_000, 100_000)


SCENARIOS: tuple[Scenario, ...] = (
    _closed(NATIVE_TLS, 500, 1),
    _closed(NATIVE_TLS, 50, 10),
    _opened(NATIVE_TLS),
    _closed(NATIVE_PLAIN, 500, 1),
    _closed(NATIVE_PLAIN, 50, 10),
    _opened(NATIVE_PLAIN),
    _closed(WEB_TLS, 500, 1),
    _closed(WEB_TLS, 50, 10),
    _closed(WEB_PLAIN, 500, 1),
    _closed(WEB_PLAIN, 50, 10),
    _idle(NATIVE_TLS),
    _idle(NATIVE_PLAIN),
    _idle(WEB_TLS),
    _idle(WEB_PLAIN),
    Scenario("native_tls_login", _logins),
    Scenario("offline", _offline),
    Scenario("backlog", _backlog),
    Scenario("start", _million),
    Scenario("media", media.media),
    Scenario("restart", _restarts),
)
