"""The shapes that nodes speak, as written down in shapes.json. `python -m tests.cluster.shapes`
adds what is new; test_packs.py tells what must not change.
"""

import json
from pathlib import Path

import msgspec

from whimbrel.cluster import packs

FILE = Path(__file__).with_name("shapes.json")
Shapes = dict[str, list[list[object]]]


def shapes() -> Shapes:
    """By type: [field, has it a default] in the order in which they are sent."""
    found: Shapes = {}
    for kind in (*packs.MESSAGES.values(), *packs.ANSWERS.values(), packs.Owners, packs.Part):
        found[kind.__name__] = [
            [field.name, not field.required] for field in msgspec.structs.fields(kind)
        ]
    return dict(sorted(found.items()))


if __name__ == "__main__":
    lines = (f'  "{name}": {json.dumps(fields)}' for name, fields in shapes().items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
