"""HTTP upload (XEP-0363): a slot, one PUT, and the file is there for everybody who has its link."""

import ssl
from xml.etree.ElementTree import Element

import aiohttp
import pytest

from tests.xmpp.house import House
from tests.xmpp.talk import shown, tls_context

UPLOAD = "urn:xmpp:http:upload:0"


def insecure() -> ssl.SSLContext:
    return tls_context()


async def slot(home: House, size: int, name: str = "a picture.bin") -> Element:
    alice = await home.talker("alice", "a")
    return await alice.ask(
        "get", f"<request xmlns='{UPLOAD}' filename='{name}' size='{size}'/>", "upload.localhost"
    )


def urls(answer: Element) -> tuple[str, str]:
    assert answer.get("type") == "result", shown(answer)
    return answer[0][0].get("url", ""), answer[0][1].get("url", "")


@pytest.mark.parametrize("size", [1, 100_000, 20_000_000])
async def test_a_file_goes_up_and_comes_down(home: House, size: int) -> None:
    put, get = urls(await slot(home, size))
    data = bytes(n * 7 & 255 for n in range(251)) * (size // 251 + 1)
    data = data[:size]
    async with aiohttp.ClientSession() as http:
        async with http.put(put, data=data, ssl=insecure()) as answer:
            assert answer.status == 201
        async with http.get(get, ssl=insecure()) as answer:
            assert answer.status == 200
            assert await answer.read() == data


async def test_another_length_than_announced_is_refused(home: House) -> None:
    put, get = urls(await slot(home, 1_000))
    async with aiohttp.ClientSession() as http:
        async with http.put(put, data=b"x" * 999, ssl=insecure()) as answer:
            assert answer.status == 400
        async with http.get(get, ssl=insecure()) as answer:
            assert answer.status == 404


async def test_a_file_that_is_too_big_gets_no_slot_and_hears_the_limit(home: House) -> None:
    answer = await slot(home, 10**12)
    assert answer.get("type") == "error"
    most = answer.findtext(f".//{{{UPLOAD}}}max-file-size")
    assert most == str(home.node.config.media.file_bytes_max)


async def test_the_service_is_found_among_the_servers_items_and_tells_its_limit(
    home: House,
) -> None:
    alice = await home.talker("alice", "a")
    items = await alice.ask(
        "get", "<query xmlns='http://jabber.org/protocol/disco#items'/>", "localhost"
    )
    assert [each.get("jid") for each in items[0]] == ["upload.localhost"]
    info = await alice.ask(
        "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "upload.localhost"
    )
    assert UPLOAD in {each.get("var") for each in info[0]}
    assert str(home.node.config.media.file_bytes_max) in shown(info)
