"""Documents that are made from the code are what the code would make now; links lead somewhere."""

import re
from pathlib import Path

import pytest

from whimbrel.node import explain

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def test_the_page_of_the_configuration_is_up_to_date() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == explain.document()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_no_page_names_a_path_of_some_machine() -> None:
    pattern = re.compile(r"(?<![\w.])/(?:home|Users|root/)\w*/")
    assert [page.name for page in PAGES if pattern.search(page.read_text())] == []


def test_no_section_of_the_configuration_shows_the_words_of_a_library() -> None:
    """A table without a docstring of its own has none, not its base class's."""
    assert "base class" not in explain.document()
