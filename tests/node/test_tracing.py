"""A message's way as spans: complete, in order, without its body; told to a real OTLP receiver; and
nothing of it is there when it is off."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.node.test_chatter import sign_up
from whimbrel.client import Client, Pinned
from whimbrel.node.assemble import Node
from whimbrel.node.config import Config, Listen, Traces
from whimbrel.node.samples import ProbeSettings

WAY = ["submit", "turn", "deliver", "commit", "push", "confirm"]
SECRET = "the monster sleeps at noon"


def config(traces: Traces) -> Config:
    off = -1
    listen = Listen(
        host="127.0.0.1", native=0, https=off, http=off, xmpp=off, xmpp_tls=off, xmpp_plain=off
    )
    return Config(listen=listen, traces=traces, probe=ProbeSettings(on=False))


async def talk(node: Node, count: int) -> None:
    """Alice writes to Bob, until every second mark has come."""
    here = {}
    for name in ("+4915100000001", "+4915100000002"):
        device, key = await sign_up(node, name)
        trust = Pinned(node.certificate.fingerprint)
        here[name] = Client(name, device, key, "127.0.0.1", node.ports["native"], trust=trust)
    alice, bob = here.values()
    async with alice, bob:
        await bob.online()
        reading = asyncio.create_task(_read(bob))
        for _ in range(count):
            sent = await alice.send(bob.account, SECRET)
            await asyncio.wait_for(sent.delivered, 30)
        reading.cancel()


async def _read(client: Client) -> None:
    async for _ in client.messages():
        pass


def by_trace(spans: tuple[ReadableSpan, ...]) -> dict[int, list[ReadableSpan]]:
    found: dict[int, list[ReadableSpan]] = {}
    for span in spans:
        found.setdefault(span.context.trace_id, []).append(span)
    return found


async def test_every_message_leaves_its_whole_way_and_not_its_body(tmp_path: Path) -> None:
    node = Node(config(Traces(on=True, share=1.0)), tmp_path / "data")
    told = InMemorySpanExporter()
    node.trace_to = told
    await node.start()
    try:
        await talk(node, 3)
        assert node.tracing is not None
        node.tracing.processor.force_flush()
        traces = by_trace(told.get_finished_spans())
        assert len(traces) == 3
        for spans in traces.values():
            (root,) = [span for span in spans if span.parent is None]
            assert root.name == "message"
            children = [span for span in spans if span.parent is not None]
            assert [span.name for span in children] == WAY
            assert {span.parent.span_id for span in children if span.parent} == {
                root.context.span_id
            }
            ends = [span.end_time or 0 for span in children]
            assert ends == sorted(ends)
            assert [event.name for event in root.events] == ["first check mark"]
        assert SECRET not in "".join(span.to_json() for span in told.get_finished_spans())
        assert "+49151" not in "".join(span.to_json() for span in told.get_finished_spans())
    finally:
        await node.stop()


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 5, 35)])
async def test_only_a_share_of_all_messages_is_followed(
    tmp_path: Path, share: float, least: int, most: int
) -> None:
    node = Node(config(Traces(on=True, share=share)), tmp_path / "data")
    told = InMemorySpanExporter()
    node.trace_to = told
    await node.start()
    try:
        await talk(node, 40)
        assert node.tracing is not None
        node.tracing.processor.force_flush()
        assert least <= len(by_trace(told.get_finished_spans())) <= most
    finally:
        await node.stop()


async def test_a_receiver_of_otlp_is_told(tmp_path: Path) -> None:
    heard: asyncio.Queue[ExportTraceServiceRequest] = asyncio.Queue()

    async def on_traces(request: web.Request) -> web.Response:
        told = ExportTraceServiceRequest()
        told.ParseFromString(await request.read())
        heard.put_nowait(told)
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", on_traces)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    place = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    node = Node(config(Traces(on=True, share=1.0, endpoint=place)), tmp_path / "data")
    await node.start()
    try:
        await talk(node, 1)
        told = await asyncio.wait_for(heard.get(), 60)
    finally:
        await node.stop()
        await runner.cleanup()
    (resource,) = told.resource_spans
    names = [span.name for scope in resource.scope_spans for span in scope.spans]
    assert "commit" in names
    assert ("service.name", "whimbrel") in [
        (each.key, each.value.string_value) for each in resource.resource.attributes
    ]


def test_switched_off_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys; from whimbrel.node import main, assemble;"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
