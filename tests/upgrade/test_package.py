"""What is installed can check an upgrade by itself: the simulator travels inside the package."""

import shutil
import subprocess
import sys
from pathlib import Path

from bench import versions
from whimbrel.node.upgrade.checker import Checker
from whimbrel.node.upgrade.order import Step
from whimbrel.node.upgrade.tree import pack, pack_installed, read_all

ROOT = Path(__file__).parents[2]


def test_a_built_package_plays_worlds_with_a_new_version(tmp_path: Path) -> None:
    place = versions.tree(tmp_path / "checkout")
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, place / name)
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", "built"]
    subprocess.run(command, cwd=place, check=True, capture_output=True)
    built = place / "built" / "whimbrel"
    assert (built / "_sim" / "world.py").is_file()
    assert not list((built / "_sim").glob("*mutants.py"))
    running = pack_installed(built, tmp_path / "running.zip")
    assert "sim/world.py" in read_all(Path(running.path))
    assert pack(place, tmp_path / "candidate.zip").whole == running.whole
    steps: list[Step] = []
    refusal, _ = Checker(steps.append).run(
        Path(running.path), tmp_path / "candidate.zip", None, "whimbrel_staged_1", 3, 120.0, False
    )
    assert refusal == ""
    assert steps[-1].text.startswith("3 worlds")
