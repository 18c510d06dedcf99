"""Where XMPP clients in browsers connect (XEP-0156): /.well-known/host-meta, as XML and as JSON."""

import msgspec
from aiohttp import hdrs, web

from whimbrel.edge.http.inside import Inside
from whimbrel.edge.http.shapes import HostLink, HostMeta
from whimbrel.protocol.xmpp.element import Element, write

XRD = "http://docs.oasis-open.org/ns/xri/xrd-1.0"
ANYWHERE = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"}  # section 3: any page may read it


async def on_host_meta(inside: Inside, request: web.Request, body: None) -> web.Response:
    links = [
        Element(XRD, "Link", {"rel": rel, "href": href})
        for rel, href in inside.xmpp_places().items()
    ]
    data = b"<?xml version='1.0' encoding='utf-8'?>\n" + write(Element(XRD, "XRD", {}, *links), "")
    return web.Response(body=data, content_type="application/xrd+xml", headers=ANYWHERE)


async def on_host_meta_json(inside: Inside, request: web.Request, body: None) -> web.Response:
    links = [HostLink(rel, href) for rel, href in inside.xmpp_places().items()]
    data = msgspec.json.encode(HostMeta(links))
    return web.Response(body=data, content_type="application/json", headers=ANYWHERE)
