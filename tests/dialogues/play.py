"""Dialogues: what XMPP clients and the server say to each other, as text that anybody can read.

A file is a list of lines; empty ones and those that begin with # say nothing:

    alice/a arrives             logs in, binds the resource, sends presence
    alice/a connects            the same without presence
    alice/a > <message ...>     says this
    bob/b < <message ...>       hears this next, whatever comes between
    bob/b hears no more         nothing of the kind that he heard last is left, when everybody's
                                requests are answered
    bob/b leaves                ends the stream in good order

What is expected must be there, more may be: attributes by value (`*`: any), the text if one is
given, every child in any order. Lines that are indented go on with the line before. A dialogue
passes on every transport.
"""

import asyncio
import re
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tests.xmpp.house import DOMAIN, House
from tests.xmpp.talk import CLIENT, PATIENCE_S, Ended, Talker, shown

LINE = re.compile(r"(\w+)/(\w+) (arrives|connects|leaves|hears no more|>|<)(?: (.*))?", re.DOTALL)


class Mismatch(AssertionError):
    """The dialogue goes another way than its file says."""


def lines_of(text: str) -> list[str]:
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0].isspace():
            found[-1] += line.strip()
        else:
            found.append(line.rstrip())
    return found


class Person:
    """A client that reads all the time, as clients do; what it has heard waits in order."""

    def __init__(self, talker: Talker) -> None:
        self.talker = talker
        self.heard: list[Element] = talker.heard
        self._news = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())
        self._pings = 0

    async def _read(self) -> None:
        with suppress(Ended, TimeoutError):
            while True:
                self.heard.append(await self.talker.next())
                self._news.set()

    async def stop(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def next(self, tag: str, id: str = "") -> Element:
        """The next element of this kind."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for at, element in enumerate(self.heard):
                    if element.tag == tag and id in ("", element.get("id")):
                        return self.heard.pop(at)
                self._news.clear()
                await self._news.wait()

    async def quiet(self) -> None:
        """All that the server had to say before is heard."""
        self._pings += 1
        id = f"quiet-{self._pings}"
        ping = "<ping xmlns='urn:xmpp:ping'/>"
        await self.talker.say(f"<iq type='get' id='{id}' to='{DOMAIN}'>{ping}</iq>")
        await self.next(f"{{{CLIENT}}}iq", id)


async def play(home: House, path: Path, transport: str) -> None:
    """Raises Mismatch."""
    people: dict[str, Person] = {}
    last: dict[str, Element] = {}
    try:
        for line in lines_of(await asyncio.to_thread(path.read_text)):
            await _play_line(home, line, transport, people, last)
    finally:
        for person in people.values():
            await person.stop()


async def _play_line(
    home: House, line: str, transport: str, people: dict[str, Person], last: dict[str, Element]
) -> None:
    found = LINE.fullmatch(line)
    if found is None:
        raise Mismatch(f"this is no line of a dialogue: {line}")
    name, resource, deed, text = found.groups()
    who = f"{name}/{resource}"
    if deed in ("arrives", "connects"):
        presence = "<presence/>" if deed == "arrives" else ""
        people[who] = Person(await home.talker(name, resource, transport, presence))
        return
    person = people[who]
    if deed == "leaves":
        await person.stop()
        await people.pop(who).talker.leave()
    elif deed == ">":
        await person.talker.say(text)
    elif deed == "<":
        last[who] = wanted = ElementTree.fromstring(f"<x xmlns='{CLIENT}'>{text}</x>")[0]
        try:
            got = await person.next(wanted.tag)
        except TimeoutError:
            raise Mismatch(f"heard nothing for: {line}") from None
        if why := differs(wanted, got):
            raise Mismatch(f"{line}\nheard: {shown(got)}\n{why}")
    else:
        for each in people.values():
            await each.quiet()
        await person.quiet()
        left = [each for each in person.heard if each.tag == last[who].tag]
        if left:
            raise Mismatch(f"{who} hears more: {shown(left[0])}")


def differs(wanted: Element, got: Element) -> str:
    """ "" or what is missing."""
    if wanted.tag != got.tag:
        return f"{got.tag} is not {wanted.tag}"
    for key, value in wanted.attrib.items():
        if got.get(key) is None or value not in ("*", got.get(key)):
            return f"{key} is {got.get(key)!r}"
    text = (wanted.text or "").strip()
    if text and text != (got.text or "").strip():
        return f"the text is {got.text!r}"
    for child in wanted:
        same = [each for each in got if each.tag == child.tag]
        whys = [differs(child, each) for each in same]
        if not whys:
            return f"there is no {child.tag}"
        if "" not in whys:
            return whys[0]
    return ""
