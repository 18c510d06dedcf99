"""Alerts to a webhook, in the format that Alertmanager sends (version "4" of its webhook payload):
whatever understands Alertmanager understands this server.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

import aiohttp
import structlog

from whimbrel.node.alerts import Alert

log = structlog.get_logger("whimbrel.alerts")

TIMEOUT_S = 10.0
TRIES = 4
WAITING_MAX = 100
NEVER = "0001-01-01T00:00:00Z"  # as Alertmanager says of what has not ended


class Webhook:
    """In order, one at a time; tried again with growing pauses, then given up and logged."""

    def __init__(self, url: str, domain: str, first_pause_s: float = 1.0) -> None:
        self._url = url
        self._domain = domain
        self._pause_s = first_pause_s
        self._queue: asyncio.Queue[Alert] = asyncio.Queue(WAITING_MAX)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def tell(self, alert: Alert) -> None:
        try:
            self._queue.put_nowait(alert)
        except asyncio.QueueFull:
            log.warning("webhook does not keep up, an alert was left out", name=alert.name)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while True:
                await self._send(http, await self._queue.get())

    async def _send(self, http: aiohttp.ClientSession, alert: Alert) -> None:
        reason = ""
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(self._pause_s * 4 ** (attempt - 1))
            try:
                async with http.post(
                    self._url, json=payload(alert, self._domain), allow_redirects=False
                ) as answer:
                    if answer.status < 300:
                        return
                    reason = f"status {answer.status}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = type(error).__name__
        log.warning("webhook was not told of an alert", name=alert.name, reason=reason)


def payload(alert: Alert, domain: str) -> dict[str, Any]:
    status = "firing" if alert.active else "resolved"
    labels = {
        "alertname": f"whimbrel_{alert.name}",
        "severity": "critical" if alert.grave else "warning",
        "instance": domain,
        "owner": alert.owner,
    }
    notes = {"summary": alert.text, "description": f"Likely cause: {alert.cause}"}
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="whimbrel_{alert.name}"}}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "whimbrel",
        "groupLabels": {"alertname": labels["alertname"]},
        "commonLabels": labels,
        "commonAnnotations": notes,
        "externalURL": "",
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": notes,
                "startsAt": _stamp(alert.since_s),
                "endsAt": NEVER if alert.active else _stamp(alert.at_s),
                "generatorURL": "",
                "fingerprint": alert.name,
            }
        ],
    }


def _stamp(at_s: float) -> str:
    return (
        datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
