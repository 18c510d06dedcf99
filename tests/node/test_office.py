"""Administration of a whole server over HTTP: facts, live feed, users, sign-ups, tokens, acts."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.edge.house import until
from tests.node.administering import Admin, serving
from whimbrel.client import Client, MemoryClientStore, Plain
from whimbrel.domain.ids import ACTOR_DESK
from whimbrel.edge.http.shapes import Histograms, History, Snapshot

NUMBER = "+4915112345678"
AGAIN = {"name": "desk", "scopes": ["read"]}


async def person(admin: Admin, address: str) -> Client:
    made = await admin.do("POST", "/admin/users", {"address": address})
    port = admin.node.ports["native_plain"]
    return Client(
        address, made["device"], made["key"], "127.0.0.1", port,
        trust=Plain(), store=MemoryClientStore(), agent="a tester",
    )  # fmt: skip


# ---- facts ------------------------------------------------------------------------------


async def test_a_snapshot_tells_who_is_here_what_waits_and_what_it_did(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        async with await person(root, "alice") as alice, await person(root, "bob") as bob:
            await alice.online()
            await bob.online()
            sent = await alice.send("bob", "hello")
            await sent.stored
            made = await person(root, "carl")  # never comes
            await (await alice.send("carl", "are you there?")).stored
            assert made.account == "carl"
            async for _ in bob.messages():
                break
            root.node.monitor.look()
            body = await root.get("/admin/facts")
        now = msgspec.convert(body, Snapshot)
        assert (now.ready, now.reason, now.sessions) == (True, "", 2)
        fronts = {line.front: (line.connections, line.logged_in) for line in now.fronts}
        assert fronts["native"] == (2, 2)
        assert fronts["http"][0] >= 1
        assert ("carl", 1) in [(line.address, line.waiting) for line in now.inboxes]
        assert {line.name for line in now.queues} >= {"turns", "mailbox", "writer", "output"}
        assert now.traffic.accepted_per_s > 0
        assert now.turn.p99_ms > 0
        assert now.turn.p50_ms <= now.turn.p99_ms <= now.turn.max_ms
        assert now.commit.per_s > 0
        assert now.machine.memory_mib > 10
        assert now.alerts == []


async def test_the_history_and_the_histograms_grow(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        for n in range(3):
            await root.do("POST", "/admin/users", {"address": f"user{n}"})
            root.node.monitor.look()
        history = msgspec.convert(await root.get("/admin/history"), History)
        assert len(history.accepted_per_s) == len(history.sessions) >= 3
        bars = msgspec.convert(await root.get("/admin/histograms"), Histograms)
        assert len(bars.turn.counts) == len(bars.turn.bounds_us) + 1
        assert sum(bars.turn.counts) > 0


async def test_the_settings_are_shown_without_what_may_be_secret(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        settings = (await root.get("/admin/settings"))["settings"]
        assert settings["limits.mailbox_max"] == str(root.node.config.limits.mailbox_max)
        assert settings["sms.options"] == "(set)"
        assert "pins.txt" not in str(settings)


async def test_a_snapshot_is_made_once_a_second_however_many_ask(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        root.node.monitor.stop()
        root.node.monitor.look()
        live = root.node.live
        assert live.snapshot() is live.snapshot()
        first = await root.get("/admin/facts")
        assert await root.get("/admin/facts") == first
        root.node.monitor.look()
        assert (await root.get("/admin/facts"))["at_us"] > first["at_us"]


async def test_nothing_is_made_while_nobody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path / "data") as root:
        made: list[int] = []
        make = root.node.live._make

        def counted() -> Snapshot:
            made.append(1)
            return make()

        monkeypatch.setattr(root.node.live, "_make", counted)
        root.node.monitor.look()
        assert made == []
        await root.get("/admin/facts")
        assert made == [1]


# ---- the live feed ----------------------------------------------------------------------


async def test_the_live_feed_begins_with_the_history_and_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        async with root.live() as feed:
            name, data = await feed.next()
            assert name == "history"
            msgspec.convert(data, History)
            last = 0
            for _ in range(3):
                root.node.monitor.look()
                name, data = await feed.next()
                assert name == "snapshot"
                now = msgspec.convert(data, Snapshot)
                assert now.at_us >= last
                last = now.at_us
        await until(lambda: not len(root.node.live.feed), "nobody listens any more")


async def test_a_revoked_token_hears_nothing_more(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        reader = await root.with_token("reader", "read")
        async with reader.live() as feed:
            await feed.next()
            await feed.next()
            await root.do("DELETE", "/admin/tokens/reader")
            root.node.monitor.look()
            while (await feed.next())[0]:
                root.node.monitor.look()


async def test_a_server_that_stops_ends_the_feed(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root, root.live() as feed:
        await feed.next()
        root.node.live.feed.close()
        while (await feed.next())[0]:
            pass
        status, body = await root.call("GET", "/admin/live")
        assert (status, body["error"]["code"]) == (503, "busy")


async def test_a_slow_listener_misses_seconds_and_queues_none(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        feed, live = root.node.live.feed, root.node.live
        with feed.listening(8) as listener:
            for _ in range(50):
                root.node.monitor.look()
            assert live.snapshot().at_us
            heard = await listener.next()
            assert heard is not None
            assert f'"at_us":{live.snapshot().at_us}'.encode() in heard
            waiting = asyncio.ensure_future(listener.next())
            done, _ = await asyncio.wait([waiting], timeout=0)
            assert not done
            waiting.cancel()


# ---- users ------------------------------------------------------------------------------


async def test_a_user_is_shown_with_sessions_inbox_and_open_sends(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        carl = await person(root, "carl")
        assert carl.account == "carl"
        async with await person(root, "alice") as alice:
            await alice.online()
            await (await alice.send("carl", "hello")).stored
            shown = await root.get("/admin/users/alice")
            (device,) = shown["devices"]
            assert device["kind"] == "own"
            assert device["session"]["front"] == "native"
            assert device["session"]["address"] == "127.0.0.1"
            assert device["session"]["agent"] == "a tester"
            assert shown["actor"]["status"] == "ready"
            assert shown["sends"] == []
        assert (await root.get("/admin/users/carl"))["waiting"] == 1


async def test_users_are_searched_by_how_they_begin(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        for name in ("alice", "alina", "bob", NUMBER):
            await root.do("POST", "/admin/users", {"address": name})

        async def found(query: str) -> list[str]:
            return [each["address"] for each in (await root.get(f"/admin/users?{query}"))["users"]]

        assert await found("prefix=ali") == ["alice", "alina"]
        assert await found("prefix=ali&limit=1") == ["alice"]
        assert await found("prefix=ali&after=alice") == ["alina"]
        assert await found("prefix=%2B4915") == [NUMBER]
        assert await found("prefix=%25") == []
        status, _ = await root.call("GET", "/admin/users?prefix=%00")
        assert status == 400


async def test_a_session_is_ended_and_the_client_comes_back_by_itself(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        async with await person(root, "alice") as alice:
            await alice.online()
            before = root.node.listener.counts["logins"]
            await root.do("DELETE", "/admin/users/alice/sessions/1")
            await until(lambda: root.node.listener.counts["logins"] > before, "logged in again")
            assert root.node.listener.counts["disconnected"] == 1
            await alice.online()
        status, body = await root.call("DELETE", "/admin/users/alice/sessions/77")
        assert (status, body["error"]["code"]) == (404, "not-found")


# ---- sign-ups ---------------------------------------------------------------------------


async def test_attempts_are_listed_with_masked_numbers(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        await root.do("POST", "/v1/signup/pin", {"number": NUMBER})
        await root.call("POST", "/v1/signup/verify", {"number": NUMBER, "pin": "0"})
        body = await root.get("/admin/signups")
        assert [(each["what"], each["result"]) for each in body["attempts"]] == [
            ("verify", "pin-wrong"),
            ("pin", "sent"),
        ]
        assert {each["number"] for each in body["attempts"]} == {"+491********78"}
        assert NUMBER not in str(body)
        assert (body["numbers"], body["pins_today"]) == (1, 1)


async def test_sign_up_is_closed_to_a_number_and_opened_again(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        await root.do("PUT", f"/admin/signups/closed/{NUMBER}")
        status, body = await root.call("POST", "/v1/signup/pin", {"number": NUMBER})
        assert (status, body["error"]["code"]) == (429, "rate-limited")
        (lock,) = (await root.get("/admin/signups"))["locks"]
        assert (lock["whom"], lock["why"], lock["until_us"]) == (NUMBER, "closed", 0)
        await root.do("DELETE", f"/admin/signups/closed/{NUMBER}")
        await root.do("POST", "/v1/signup/pin", {"number": NUMBER})
        assert ACTOR_DESK in root.node.engine.cells


# ---- audit and traces -------------------------------------------------------------------


async def test_an_audit_is_started_and_its_result_shown(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        assert (await root.get("/admin/audit"))["at_us"] == 0
        carl = await person(root, "carl")
        assert carl.account == "carl"
        async with await person(root, "alice") as alice:
            await alice.online()
            await (await alice.send("carl", "hello")).stored
        assert await root.do("POST", "/admin/audit") == {"started": True}
        await until(lambda: root.node.auditor.runs == 1, "audited")
        body = await root.get("/admin/audit")
        assert (body["messages"], body["unexplained"], body["findings"]) == (1, 0, [])
        assert body["classes"]["waiting"] == 1
        assert root.node.auditor.last is not None
        assert root.node.auditor.last.inboxes == {"carl": 1}


async def test_a_message_is_traced_without_its_text(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        carl = await person(root, "carl")
        assert carl.account == "carl"
        async with await person(root, "alice") as alice:
            await alice.online()
            sent = await alice.send("carl", "a secret plan")
            await sent.stored
        (one,) = (await root.get(f"/admin/traces/{sent.id}"))["messages"]
        assert (one["sender"], one["recipient"]) == ("alice", "carl")
        assert [line["what"] for line in one["lines"]] == ["accepted", "stored", "waiting"]
        assert "secret plan" not in str(one)
        assert (await root.call("GET", "/admin/traces/7"))[0] == 404
        assert (await root.call("GET", "/admin/traces/x"))[0] == 400


# ---- tokens and acts --------------------------------------------------------------------


async def test_a_token_is_told_once_listed_without_it_and_revoked(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        users = await root.with_token("desk", "users", days=3)
        assert (await users.get("/admin/whoami"))["scopes"] == ["read", "users"]
        listed = await root.get("/admin/tokens")
        (line,) = listed["tokens"]
        assert (line["name"], line["by"]) == ("desk", "root")
        assert line["expires_us"] > line["created_us"]
        assert users.token not in str(listed)
        status, body = await root.call("POST", "/admin/tokens", AGAIN)
        assert (status, body["error"]["code"]) == (409, "exists")
        await root.do("DELETE", "/admin/tokens/desk")
        assert (await users.call("GET", "/admin/facts"))[0] == 401


async def test_a_token_without_a_proper_name_scope_or_end_is_refused(tmp_path: Path) -> None:
    bodies: list[Any] = [
        {"name": "", "scopes": ["read"]},
        {"name": "a b", "scopes": ["read"]},
        {"name": "x" * 41, "scopes": ["read"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "scopes": ["read"], "days": -1},
        {"name": "x\n", "scopes": ["read"]},
    ]
    async with serving(tmp_path / "data") as root:
        for body in bodies:
            status, answer = await root.call("POST", "/admin/tokens", body)
            assert (status, answer["error"]["code"]) == (400, "bad-message"), body
        assert (await root.get("/admin/tokens"))["tokens"] == []


async def test_every_act_is_written_down_and_looking_is_not(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        desk = await root.with_token("desk", "users")
        made = await desk.do("POST", "/admin/users", {"address": "alice"})
        await desk.call("POST", "/admin/users", {"address": "alice"})
        await desk.call("POST", "/admin/users", {"address": "1"})
        await desk.do("POST", "/admin/users/alice/reset")
        await desk.call("POST", "/admin/audit")  # may not
        await desk.call("DELETE", "/admin/users/alice/sessions/1")
        await desk.do("DELETE", "/admin/users/alice", None)
        await desk.get("/admin/facts")
        told = await desk.get("/admin/acts")
        assert [(a["who"], a["what"], a["on"], a["result"]) for a in reversed(told["acts"])] == [
            ("root", "create token", "desk", "ok"),
            ("desk", "create user", "alice", "ok"),
            ("desk", "create user", "alice", "exists"),
            ("desk", "create user", "", "bad-address"),
            ("desk", "reset user", "alice", "ok"),
            ("desk", "start audit", "", "wrong-scope"),
            ("desk", "disconnect", "alice 1", "not-found"),
            ("desk", "delete user", "alice", "ok"),
        ]
        assert {a["source"] for a in told["acts"]} == {"127.0.0.1"}
        text = (tmp_path / "data" / "acts.log").read_text()
        for secret in (made["key"], desk.token, root.token):
            assert secret not in text
        page = await desk.get("/admin/acts?limit=3")
        assert len(page["acts"]) == 3
        rest = await desk.get(f"/admin/acts?limit=100&before={page['next']}")
        assert (len(rest["acts"]), rest["next"]) == (5, 0)


async def test_an_act_is_on_disk_before_its_answer(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        log = tmp_path / "data" / "acts.log"
        for n in range(5):
            await root.do("POST", "/admin/users", {"address": f"user{n}"})
            assert log.read_text().count("\n") == n + 1


async def test_a_name_that_the_caller_says_of_itself_cannot_forge_a_line(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as root:
        for name in ("mallory", "m" * 500):
            headers = {"X-Whimbrel-User": name}
            await root.call("POST", "/admin/users", {"address": "alice"}, headers)
        acts = (await root.get("/admin/acts"))["acts"]
        assert acts[1]["source"] == "127.0.0.1 cli mallory"
        assert len(acts[0]["source"]) < 100
        assert {act["who"] for act in acts} == {"root"}


async def test_too_many_wrong_tokens_are_told_to_wait_and_right_ones_are_not(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "data") as root:
        thief = Admin(root.node, root.http, "a guess")
        heard = [(await thief.call("GET", "/admin/facts"))[0] for _ in range(40)]
        assert heard[0] == 401
        assert heard[-1] == 429
        assert (await root.call("GET", "/admin/facts"))[0] == 200
