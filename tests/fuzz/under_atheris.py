"""`python -m tests.fuzz.under_atheris TARGET [libFuzzer options]`: the same targets, by libFuzzer.

Optional: atheris has wheels for Linux only (`pip install -e '.[fuzz]'`). It never ends by itself;
`-max_total_time=600` is a good option. Other chance than guided.py, and faster; not repeatable.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any


def ignore(outcome: str) -> None:
    """libFuzzer wants no answer."""


def main() -> None:
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["whimbrel", "phonenumbers", "tomllib"]):
        from tests.fuzz.targets import TARGETS
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    target = next((each for each in TARGETS if each.name == wanted), None)
    if target is None:
        raise SystemExit("name one of: " + ", ".join(each.name for each in TARGETS))
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], *sys.argv[2:], corpus], lambda data: ignore(target.run(data)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
