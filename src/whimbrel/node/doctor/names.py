"""DNS: do the names lead here? Addresses, SRV records of XMPP, and host-meta.

aiodns asks the system's servers, or those that a test names. RFC 6120 section 3.2, XEP-0368 and
XEP-0156 say what clients look for. What cannot be asked is "unknown", never a fault.
"""

import asyncio
from ipaddress import ip_address

import aiodns
import aiohttp

from whimbrel.node.doctor.finding import Finding, Patient, bad, good, unknown, warning

TIMEOUT_S = 3.0
NOBODY = {1, 4}  # ARES_ENODATA, ARES_ENOTFOUND: asked, and there is none


def check(patient: Patient) -> list[Finding]:
    domain = patient.config.domain
    if _is_local(domain):
        return [good("names", f"{domain} is a name of this machine only; nothing to look up")]
    if not patient.network:
        return [unknown("names", "not asked: --offline")]
    return asyncio.run(_check(patient, domain))


def _is_local(domain: str) -> bool:
    try:
        ip_address(domain)
    except ValueError:
        return domain == "localhost" or domain.endswith((".localhost", ".local", ".test"))
    return True


async def _check(patient: Patient, domain: str) -> list[Finding]:
    resolver = aiodns.DNSResolver(
        nameservers=patient.nameservers or None,
        timeout=TIMEOUT_S,
        tries=1,
        udp_port=patient.dns_port,
        tcp_port=patient.dns_port,
    )
    try:
        found = [await _address(resolver, domain)]
        if found[0].level == "unknown":
            return found  # no server answers: asking for more would only take time
        listen = patient.config.listen
        for service, port in (("_xmpp-client", listen.xmpp), ("_xmpps-client", listen.xmpp_tls)):
            if port > 0:
                found.append(await _service(resolver, domain, service, port))
    finally:
        await resolver.close()
    found.append(await _host_meta(domain))
    return found


async def _ask(resolver: aiodns.DNSResolver, name: str, kind: str) -> list[object] | str:
    """Records, [] if there are none, or why nobody could be asked."""
    try:
        result = await resolver.query_dns(name, kind)
    except aiodns.error.DNSError as error:
        return [] if error.args[0] in NOBODY else str(error.args[-1])
    return [record.data for record in result.answer]


async def _address(resolver: aiodns.DNSResolver, domain: str) -> Finding:
    subject = f"name {domain}"
    four, six = await _ask(resolver, domain, "A"), await _ask(resolver, domain, "AAAA")
    if isinstance(four, str) and isinstance(six, str):
        return unknown(subject, f"could not ask: {four}", "try again where DNS can be reached")
    addresses = [record.addr for each in (four, six) if isinstance(each, list) for record in each]  # type: ignore[attr-defined]
    if not addresses:
        return bad(subject, "has no address", f"make an A or AAAA record for {domain}")
    return good(subject, f"leads to {', '.join(sorted(addresses))}")


async def _service(resolver: aiodns.DNSResolver, domain: str, service: str, port: int) -> Finding:
    name, subject = f"{service}._tcp.{domain}", f"SRV {service}"
    records = await _ask(resolver, name, "SRV")
    wanted = f"{name}. SRV 0 5 {port} {domain}."
    if isinstance(records, str):
        return unknown(subject, f"could not ask: {records}")
    ports = sorted({record.port for record in records})  # type: ignore[attr-defined]
    if not records:
        usual = (service, port) == ("_xmpp-client", 5222)
        if usual:
            return good(subject, "none; clients come to port 5222 of the domain all the same")
        return warning(subject, "none: XMPP clients do not find the port", f"add {wanted}")
    if port not in ports:
        text = f"leads to port {', '.join(map(str, ports))}; the server listens on {port}"
        return warning(subject, text, f"right is {wanted} (unless a proxy maps the port)")
    return good(subject, f"leads to port {port}")


async def _host_meta(domain: str) -> Finding:
    subject, url = "host-meta", f"https://{domain}/.well-known/host-meta.json"
    timeout = aiohttp.ClientTimeout(total=2 * TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as answer:
            if answer.status != 200:
                text = f"{url} answers {answer.status}"
                return warning(subject, text, "XMPP in browsers needs it on port 443 (a proxy)")
            links = (await answer.json(content_type=None)).get("links", [])
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        text = f"{url} could not be asked ({type(error).__name__})"
        return unknown(subject, text, "only XMPP clients in browsers of other sites need it")
    return good(subject, f"names {len(links)} ways to connect")
