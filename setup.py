"""The one thing that pyproject.toml cannot say: the simulator travels inside the package.

`whimbrel upgrade` plays its worlds with a new version before anybody runs it, also where there
is no checkout. It is data there (whimbrel/_sim), never a package that somebody could import by
accident; node/upgrade/tree.py puts it in its place in a process of its own.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SIMULATOR = Path(__file__).parent / "sim"
FOR_PEOPLE = (
    "mutants.py",
    "xmpp_mutants.py",
    "hunt.py",
    "planting.py",
)  # planted bugs are not shipped


class WithSimulator(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode or not SIMULATOR.is_dir():
            return
        inside = Path(self.build_lib) / "whimbrel" / "_sim"
        inside.mkdir(parents=True, exist_ok=True)
        for path in sorted(SIMULATOR.glob("*.py")):
            if path.name not in FOR_PEOPLE:
                self.copy_file(str(path), str(inside / path.name))


setup(cmdclass={"build_py": WithSimulator})
