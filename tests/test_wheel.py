"""The wheel, installed in a clean environment without the checkout: the core works from it alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from posetools.formats.labelme import format as labelme
from tests.build import make_dataset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Installed:
    """A clean environment with only the wheel and its dependencies."""

    wheel: Path
    venv: Path
    home: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, in an empty folder, without access to the checkout."""
        program = str(self.venv / "bin" / command[0])
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        return subprocess.run(
            [program, *command[1:]], cwd=self.home, env=environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    uv = _uv()
    folder = tmp_path_factory.mktemp("wheel")
    source, venv, home = folder / "source", folder / "venv", folder / "home"
    # Built from a copy, so that nothing is written to the checkout and an editable install of it cannot help.
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source)
    for name in ("posetools", "schemas"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    home.mkdir()
    _run(uv, "build", "--wheel", "--out-dir", str(folder / "dist"), str(source))
    shutil.rmtree(source)
    (wheel,) = (folder / "dist").glob("*.whl")
    _run(uv, "venv", "--python", sys.executable, str(venv))
    _run(uv, "pip", "install", "--python", str(venv), str(wheel))
    return Installed(wheel, venv, home)


def _uv() -> str:
    """Return the uv set for the Makefile, the one on the PATH, or the one that the Makefile installed."""
    named = os.environ.get("UV") or shutil.which("uv")
    own = ROOT / ".tools" / "uv" / "bin" / "uv"
    if not named and not own.is_file():
        pytest.skip("uv is not installed: make install")
    # The tests run in the checkout, the commands here elsewhere.
    return str(ROOT / named) if named and "/" in named else named or str(own)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_the_package_and_its_skeletons_come_from_the_wheel(installed: Installed) -> None:
    program = (
        "import json, posetools\n"
        "from posetools.core.skeleton import BUILT_IN, built_in_path, load_skeleton\n"
        "counts = [load_skeleton(name).num_keypoints for name in BUILT_IN]\n"
        "print(json.dumps([counts, posetools.__file__, *(str(built_in_path(name)) for name in BUILT_IN)]))"
    )
    done = installed.run("python", "-c", program)
    assert done.returncode == 0, done.stderr
    counts, *places = json.loads(done.stdout)
    assert counts == [8, 17]
    assert all(Path(place).is_relative_to(installed.venv) for place in places)
    names = zipfile.ZipFile(installed.wheel).namelist()
    assert {"posetools/schemas/car8.yaml", "posetools/schemas/coco17.yaml", "posetools/py.typed"} <= set(names)
    assert {f"posetools/weights/{name}" for name in ("rtmdet-tiny_car8.pth", "rtmpose-t_car8.pth")} <= set(names)
    assert "posetools/weights/README.md" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "data/"))]


def test_labelme_files_become_a_data_set_that_is_valid(installed: Installed) -> None:
    dataset = make_dataset(installed.home / "made", images=[f"{number}.jpg" for number in range(6)])
    labelme.write({"train": dataset}, installed.home / "labels", "copy")

    done = installed.run("posetools", "convert", "labels", "--out", "cars", "--val", "0.34")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((installed.home / "cars" / "train_coco.json").read_text(encoding="utf-8"))
    assert (len(document["images"]), len(document["annotations"])) == (4, 8)

    done = installed.run("posetools", "validate", "cars")
    assert done.returncode == 0, done.stdout + done.stderr
    done = installed.run("posetools", "config", "cars", "--out", "configs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.suffix for path in (installed.home / "configs").iterdir()) == [".py", ".py"]


def test_help_lists_the_commands(installed: Installed) -> None:
    done = installed.run("posetools", "--help")
    assert done.returncode == 0, done.stderr
    for command in ("convert", "validate", "split", "config", "train", "eval", "fit", "demo", "doctor", "skeleton"):
        assert f" {command} " in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ["train", "cars", "--stage", "det"],
        ["eval", "best.pth", "--stage", "pose"],
        ["demo", "--images", "10"],
        ["fit", "cars", "--yes"],
        ["doctor"],
    ],
    ids=lambda command: command[0],
)
def test_what_needs_the_extra_names_the_install_command(installed: Installed, command: list[str]) -> None:
    done = installed.run("posetools", *command)
    said = done.stdout + done.stderr
    assert done.returncode == (1 if command == ["doctor"] else 2), said
    assert "make install" in said
    assert "torch" in said
    assert "Traceback" not in said
    assert not (installed.home / "demo").exists()
