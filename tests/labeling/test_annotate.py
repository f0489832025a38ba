"""labelme with the right settings: with a small program in its place, and, where it is installed, with labelme itself.

The real one needs labelme and xdotool on the PATH, and Xvfb: ``uv tool install labelme``, ``apt install xvfb xdotool``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from posetools.core.skeleton import load_skeleton
from posetools.imaging.drawing import BOX_COLOR
from posetools.labeling.annotate import convention, find_labelme, labelme_config
from tests.build import make_image
from tests.cli.run import run

CAR8 = load_skeleton("car8")

# A fake labelme: records how it was called, and saves what the test says.
PROGRAM = """#!{python}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
config = pathlib.Path(sys.argv[sys.argv.index("--config") + 1])
(here / "called.json").write_text(json.dumps([sys.argv[1:], config.read_text()]))
for name, document in json.loads((here / "saves.json").read_text()).items():
    pathlib.Path(sys.argv[-1], name).write_text(json.dumps(document))
sys.exit(int((here / "status").read_text()))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program called labelme on the PATH; return the folder that says what it does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "labelme").write_text(PROGRAM.format(python=sys.executable))
    (folder / "labelme").chmod(0o755)
    (folder / "saves.json").write_text("{}")
    (folder / "status").write_text("0")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DISPLAY", ":99")
    # A labelme next to this Python would come first.
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    return folder


def labeled(name: str) -> dict[str, Any]:
    box = {"label": "car", "shape_type": "rectangle", "points": [[10, 10], [90, 70]], "group_id": 0}
    point = {"label": "left-front-tire", "shape_type": "point", "points": [[20, 60]], "group_id": 0}
    return {"imagePath": name, "shapes": [box, point]}


def saves(program: Path, names: list[str]) -> None:
    documents = {f"{Path(name).stem}.json": labeled(name) for name in names}
    (program / "saves.json").write_text(json.dumps(documents))


def test_labelme_gets_a_config_of_its_own(program: Path, tmp_path: Path) -> None:
    make_image(tmp_path / "cars/a.jpg", (96, 80))
    make_image(tmp_path / "cars/b.jpg", (96, 80))
    saves(program, ["a.jpg"])
    done = run("annotate", tmp_path / "cars")
    assert done.status == 0, done.err
    assert done.out.splitlines()[:3] == list(convention(CAR8))
    assert "labelme files: 1 new, 0 changed; images without one: 1" in done.out
    arguments, text = json.loads((program / "called.json").read_text())
    assert arguments[-1] == "." and arguments[2:4] == ["--logger-level", "warning"]
    assert not Path(arguments[1]).exists(), "the settings go when labelme does"
    config = yaml.safe_load(text)
    assert config == labelme_config(CAR8)
    assert config["labels"] == ["car", *CAR8.names]
    assert config["label_colors"]["left-front-tire"] == list(CAR8.keypoints[CAR8.index["left-front-tire"]].color)


def test_then_convert_and_validate(program: Path, tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(4)]
    for seed, name in enumerate(names):
        make_image(tmp_path / "cars" / name, (96, 80), seed=seed)
    saves(program, names)
    out = tmp_path / "set"
    done = run("annotate", tmp_path / "cars", "--then-convert", out, "--then-validate")
    assert done.status == 0, done.err + done.out
    assert "read 4 labelme annotation files" in done.words and "errors: 0" in done.words
    assert len(json.loads((out / "train_coco.json").read_text())["annotations"]) == 3
    again = run("annotate", tmp_path / "cars", "--then-convert", out)
    assert again.status == 2 and "exists and is not empty" in again.err
    wrong = labeled("0.jpg")
    wrong["shapes"][1]["label"] = "left-front-tyre"
    (program / "saves.json").write_text(json.dumps({"0.json": wrong}))
    done = run("annotate", tmp_path / "cars", "--then-convert", out, "--overwrite")
    assert done.status == 1 and "E301" in done.out and "1 changed" in done.out


def test_what_was_saved_in_a_review_is_brought_back(program: Path, tmp_path: Path) -> None:
    make_image(tmp_path / "cars/a.jpg", (96, 80))
    assert run("review", tmp_path / "cars", "--out", tmp_path / "out").status == 0
    saves(program, ["a.jpg"])
    done = run("annotate", tmp_path / "out/pictures")
    assert done.status == 0 and "restored to their originals: 1" in done.out
    assert json.loads((tmp_path / "cars/a.json").read_text()) == labeled("a.jpg")


def test_an_error_of_labelme_is_one(program: Path, tmp_path: Path) -> None:
    make_image(tmp_path / "cars/a.jpg", (96, 80))
    (program / "status").write_text("3")
    done = run("annotate", tmp_path / "cars", "--then-convert", tmp_path / "set")
    assert done.status == 1 and "failed with exit status 3" in done.err and not (tmp_path / "set").exists()
    (program / "labelme").write_text("#!/nowhere/python\n")
    done = run("annotate", tmp_path / "cars")
    assert done.status == 1 and "cannot be started" in done.err


def test_without_labelme_it_is_said_how_to_get_it(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image(tmp_path / "cars/a.jpg", (96, 80))
    (program / "labelme").unlink()
    monkeypatch.setenv("PATH", str(program))
    done = run("annotate", tmp_path / "cars")
    assert done.status == 2 and "requires the program labelme" in done.err and "uv tool install labelme" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere must be an existing folder with images"),
        (["empty"], "empty must be a folder with images, got 'none in it'"),
        (["cars", "--skeleton", "car9"], "skeleton must be one of car8"),
        (["cars", "--then-validate"], "--then-validate needs --then-convert DIR"),
        (["cars", "--then-convert", "cars"], "--then-convert must be outside the source"),
    ],
)
def test_what_cannot_be_done_is_said_before_labelme_starts(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    make_image(tmp_path / "cars/a.jpg", (96, 80))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    done = run("annotate", *arguments)
    assert done.status == 2 and said in done.words and not (program / "called.json").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a screen")
def test_without_a_screen(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_image(tmp_path / "cars/a.jpg", (96, 80))
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    done = run("annotate", tmp_path / "cars")
    assert done.status == 2 and "requires a screen" in done.err and not (program / "called.json").exists()


class Screen:
    """A virtual screen, a keyboard and a mouse.

    Attributes:
        env: the environment of programs that are to show on it.
    """

    def __init__(self, folder: Path) -> None:
        read, write = os.pipe()
        self._folder = folder
        command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x900x24", "-fbdir", str(folder)]
        self.server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        # HOME, so that the user's settings and window places are neither used nor changed.
        self.env = {**os.environ, "DISPLAY": f":{number}", "HOME": str(folder), "QT_QPA_PLATFORM": "xcb"}

    def do(self, *arguments: object) -> str:
        """Call xdotool, and wait for the screen to update."""
        command = ["xdotool", *map(str, arguments)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        time.sleep(0.5)
        return done.stdout.strip()

    def window(self, name: str, process: subprocess.Popen[str], seconds: float = 60.0) -> str:
        """Return the window of a process whose title starts so, once it exists."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            found = self.do("search", "--onlyvisible", "--name", f"^{name}")
            if found:
                return found.split()[0]
        raise AssertionError(f"no window called {name}")

    def colors(self) -> set[tuple[int, int, int]]:
        """Return every color (RGB) on the screen, from the X window dump that Xvfb keeps."""
        data = (self._folder / "Xvfb_screen0").read_bytes()
        head = np.frombuffer(data, dtype=">u4", count=25)
        size, width, height, line, colors = (int(head[i]) for i in (0, 4, 5, 12, 19))
        pixels = np.frombuffer(data, dtype=np.uint8, offset=size + 12 * colors, count=line * height)
        shown = pixels.reshape(height, line // 4, 4)[:, :width, 2::-1]
        return {(int(r), int(g), int(b)) for r, g, b in np.unique(shown.reshape(-1, 3), axis=0)}


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    missing = [name for name in ("labelme", "Xvfb", "xdotool") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not on the PATH: uv tool install labelme; apt install xvfb xdotool")
    (tmp_path / "home").mkdir()
    shown = Screen(tmp_path / "home")
    yield shown
    shown.server.terminate()
    shown.server.wait(20)


def test_labelme_itself_shows_and_saves_what_it_should(screen: Screen, tmp_path: Path) -> None:
    find_labelme()
    for name in ("a.jpg", "b.jpg"):
        make_image(tmp_path / "cars" / name, (320, 240))
    document = labeled("a.jpg")
    document |= {"imageData": None, "imageHeight": 240, "imageWidth": 320, "flags": {}, "posetools": {"mine": 1}}
    (tmp_path / "cars/a.json").write_text(json.dumps(document))
    command = [sys.executable, "-m", "posetools", "annotate", str(tmp_path / "cars")]
    process = subprocess.Popen(command, env=screen.env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        window = screen.window(r"Labelme - a\.jpg", process)
        screen.do("windowmove", window, 0, 0, "windowsize", window, 1280, 900)
        time.sleep(2)
        front = CAR8.keypoints[CAR8.index["left-front-tire"]].color
        assert {BOX_COLOR, front} <= screen.colors()
        # A point, labeled by name; the change is saved at once.
        screen.do("mousemove", 500, 500, "click", 1)
        screen.do("key", "p")
        screen.do("mousemove", 520, 520)
        screen.do("click", 1)
        screen.do("type", "right-rear-tire")
        screen.do("key", "Return")
        end = time.monotonic() + 20
        while time.monotonic() < end and len(json.loads((tmp_path / "cars/a.json").read_text())["shapes"]) < 3:
            time.sleep(0.5)
        screen.do("windowfocus", window, "key", "ctrl+q")
        out, _ = process.communicate(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    saved = json.loads((tmp_path / "cars/a.json").read_text())
    assert [shape["label"] for shape in saved["shapes"]] == ["car", "left-front-tire", "right-rear-tire"]
    assert saved["shapes"][2]["shape_type"] == "point" and saved["shapes"][2]["flags"] == {"occluded": False}
    assert saved["posetools"] == {"mine": 1} and saved["flags"] == {"checked": False} and saved["imageData"] is None
    assert process.returncode == 0 and "0 new, 1 changed; images without one: 1" in out
