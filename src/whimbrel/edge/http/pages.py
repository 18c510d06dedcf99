"""The few pages for people: what this is, and the last PINs for the operator's own eyes.

Plain HTML without scripts; everything that is put in is escaped. The browser client takes the
place of the first page later.
"""

import time
from html import escape

from aiohttp import web

from whimbrel.domain.errors import NotFound
from whimbrel.edge.http.caller import named_host
from whimbrel.edge.http.inside import Inside, ShowsPins
from whimbrel.edge.http.shapes import Pins, ShownPin

REFRESH_S = 3
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 42rem; margin: 3rem auto; padding: 0 1rem; }
code, td.pin { font-family: ui-monospace, monospace; }
pre { padding: 1rem; border-radius: .5rem; background: #8882; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8884; }
td.pin { font-size: 1.3rem; letter-spacing: .15em; }
p.quiet { opacity: .7; }
"""


async def on_home(inside: Inside, request: web.Request, body: None) -> web.Response:
    info = inside.info()
    here = escape(f"{request.scheme}://{named_host(request) or info.domain}")
    return _page(
        "Whimbrel",
        f"""<h1>Whimbrel</h1>
<p>This is a messenger server, and it is running. Its domain is
<code>{escape(info.domain)}</code>; its own protocol is spoken on port
<code>{info.native_port}</code>.</p>
<p>From a terminal:</p>
<pre>whimbrel register +&lt;your number&gt; --server {here}
whimbrel chat</pre>
<p>For programs: <a href="/openapi.json">the OpenAPI document</a>.</p>""",
    )


async def on_pins(inside: Inside, request: web.Request, body: None) -> web.Response:
    """Only with the console sender; dispatch has made sure that the caller is local."""
    sender = inside.sender
    if sender.name != "console" or not isinstance(sender, ShowsPins):
        raise NotFound
    rows = "".join(_row(*shown) for shown in reversed(list(sender.shown)))
    table = f"<table><tr><th>Time<th>Number<th>PIN</tr>{rows}</table>"
    nothing = "<p>Nobody has asked for a PIN yet.</p>"
    return _page(
        "PINs - Whimbrel",
        f"<h1>The last PINs</h1>{table if rows else nothing}"
        '<p class="quiet">Only this machine can see this page. With another sender of text '
        "messages in the configuration it is gone.</p>",
        refresh_s=REFRESH_S,
    )


async def on_pins_json(inside: Inside, request: web.Request, body: None) -> Pins:
    """For the sign-up page on the operator's own machine; the same conditions as above."""
    sender = inside.sender
    if sender.name != "console" or not isinstance(sender, ShowsPins):
        raise NotFound
    shown = reversed(list(sender.shown))
    return Pins([ShownPin(number, pin) for _at_s, number, pin in shown])


def _row(at_s: float, number: str, pin: str) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(at_s))
    return f'<tr><td>{at}<td>{escape(number)}<td class="pin">{escape(pin)}</tr>'


def _page(title: str, body: str, refresh_s: int = 0) -> web.Response:
    refresh = f'<meta http-equiv="refresh" content="{refresh_s}">' if refresh_s else ""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{refresh}<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{body}</body></html>\n"
    )
    return web.Response(text=text, content_type="text/html")
