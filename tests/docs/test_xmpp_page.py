"""docs/xmpp.md and docs/doap.xml are what the code makes of them."""

from pathlib import Path
from xml.etree import ElementTree

from whimbrel.edge.xmpp import document

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_true() -> None:
    assert (DOCS / "xmpp.md").read_text() == document.page(), "run `make docs`"


def test_the_description_of_the_project_is_true_and_well_formed() -> None:
    text = (DOCS / "doap.xml").read_text()
    assert text == document.doap(), "run `make docs`"
    root = ElementTree.fromstring(text)
    xeps = root.findall(".//{https://linkmauve.fr/ns/xmpp-doap#}SupportedXep")
    assert len(xeps) > 30
