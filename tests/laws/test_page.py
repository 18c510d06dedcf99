"""docs/laws.md stays true: it lists the planted bugs that exist, with their laws and scenes."""

import re
from pathlib import Path

from tests.laws.mutants import MUTANTS

PAGE = Path(__file__).parents[2] / "docs" / "laws.md"
ROW = re.compile(r"\| (\d) \| `([a-z-]+)` \| ([^|]+) \| `(\w+)`[^|]* \| ([\d-]+) \| [^|]+ \|")
HINT = "print the table with: python -m tests.laws.hunt"


def test_the_page_lists_the_planted_bugs() -> None:
    rows = [match.groups() for line in PAGE.read_text().splitlines() if (match := ROW.match(line))]
    assert [row[1] for row in rows] == list(MUTANTS), HINT
    for law, name, broken, scene, _seeds in rows:
        mutant = MUTANTS[name]
        told = (int(law), broken, scene)
        assert told == (mutant.law, mutant.broken, mutant.scene), f"{name}: {HINT}"


def test_the_page_claims_no_bug_that_survives() -> None:
    assert "**nothing**" not in PAGE.read_text(), "a planted bug survives"
