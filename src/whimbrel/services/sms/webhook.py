"""PINs through any provider with an HTTP interface, described in the configuration.

The body is a template with {number}, {pin} and {text}. What is put in is escaped for the
template's kind: JSON (inside a string), a form, or plain text, as its content type says.
"""

from collections.abc import Callable, Mapping
from urllib.parse import quote_plus

import msgspec

from whimbrel.services.sms.delivery import Delivery


def _in_json(value: str) -> str:
    return msgspec.json.encode(value).decode()[1:-1]


def _in_plain(value: str) -> str:
    return value


def escape_for(content_type: str) -> Callable[[str], str]:
    """How a value is written inside a body of this content type."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return _in_json
    if kind == "application/x-www-form-urlencoded":
        return quote_plus
    return _in_plain


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each {name} once, never looking into what was put in."""
    parts = []
    rest = template
    while rest:
        found = [(rest.find(f"{{{name}}}"), name) for name in values]
        hits = [(at, name) for at, name in found if at >= 0]
        if not hits:
            break
        at, name = min(hits)
        parts += [rest[:at], values[name]]
        rest = rest[at + len(name) + 2 :]
    return "".join([*parts, rest])


class WebhookSender:
    name = "webhook"

    def __init__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: str,
        text: str,
        good: frozenset[int],
        delivery: Delivery,
    ) -> None:
        self._method = method
        self._url = url
        self._headers = dict(headers)
        self._body = body
        self._text = text
        self._good = good
        self._delivery = delivery
        kind = {name.lower(): value for name, value in headers.items()}.get("content-type", "")
        self._escape = escape_for(kind)

    async def send(self, number: str, pin: str) -> None:
        values = {"number": number, "pin": pin, "text": self._text.replace("{pin}", pin)}
        url = fill(self._url, {name: quote_plus(value) for name, value in values.items()})
        body = fill(self._body, {name: self._escape(value) for name, value in values.items()})
        await self._delivery.request(
            self._method, url, good=self._good, headers=self._headers, data=body.encode() or None
        )

    async def close(self) -> None:
        await self._delivery.close()
