"""docs/plugins.md: the package that it builds is built from the page alone, installed and used."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from tests.plugins.site import ROOT, install, posetools, put

PAGE = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install what the page's blocks are."""
    home = tmp_path_factory.mktemp("kites")
    (project,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    module = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    (home / "package").mkdir()
    (home / "package/pyproject.toml").write_text(project, encoding="utf-8")
    (home / "package/posetools_kites.py").write_text(module, encoding="utf-8")
    assert set(tomllib.loads(project)["project"]["entry-points"]) == {
        f"posetools.{kind}" for kind in ("formats", "checks", "commands", "exporters", "skeletons")
    }
    install(home / "package", home / "site")
    return home / "site"


@pytest.fixture(scope="module")
def kites(site: Path) -> Path:
    home, entries = site.parent, []
    for number in range(4):
        tail = [40, 4 if number == 1 else 50, 2]
        points = {"tip": [40, 12, 2], "left": [25, 30, 2], "right": [55, 30, 1], "tail": tail}
        entries.append({"image": f"{number}.png", "kites": [{"box": [20, 10, 60, 55 + number], "points": points}]})
        (home / "src").mkdir(exist_ok=True)
        Image.new("RGB", (96, 64), (60 * number, 90, 120)).save(home / f"src/{number}.png")
    (home / "src/kites.json").write_text(json.dumps(entries), encoding="utf-8")
    done = posetools(site, "convert", "src", "--out", "kites", "--val", "0.5", cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return home / "kites"


def test_the_format_reads_what_the_file_says(kites: Path) -> None:
    documents = [json.loads(path.read_bytes()) for path in kites.glob("*_coco.json")]
    boxes = sorted(one["bbox"] for document in documents for one in document["annotations"])
    assert boxes == [[20, 10, 40, 45], [20, 10, 40, 46], [20, 10, 40, 47], [20, 10, 40, 48]]


def test_the_check_finds_the_kite_with_the_tail_above(site: Path, kites: Path) -> None:
    done = posetools(site, "validate", kites)
    assert "kites/W1 tail-above-box (1)" in done.stdout
    assert "the tail must not be above the box, got 4.0" in done.stdout


def test_the_command_counts(site: Path, kites: Path) -> None:
    done = posetools(site, "kite-count", kites)
    assert (done.returncode, done.stdout) == (0, "4\n")


def test_the_skeleton_is_shown_and_recognized(site: Path, kites: Path) -> None:
    shown = posetools(site, "skeleton", "show", "kite").stdout
    assert "left" in shown and "tail" in shown
    # The source declares no links; the skeleton of that name has them.
    record = json.loads((kites / "conversion.json").read_bytes())["skeleton"]
    assert (record["name"], len(record["links"])) == ("kite", 2)


def write_pair(path: Path) -> None:
    """Write a bundle of two tiny networks."""
    pytest.importorskip("onnx", reason="onnx is not installed: the extra `dev`")
    from posetools.runtime.bundle import write_bundle
    from posetools.runtime.manifest import Sample
    from tests.runtime import tiny

    one = Sample(file="samples/a.png", boxes=(), scores=(), keypoints=(), keypoint_scores=())
    manifest, files = tiny.parts((one,))
    write_bundle(path, manifest, {**files, "samples/a.png": tiny.png(tiny.image())})


def test_the_exporter_takes_the_networks_out_of_a_bundle(site: Path, tmp_path: Path) -> None:
    write_pair(tmp_path / "pair.zip")
    import onnx

    words = ("export", "--bundle", tmp_path / "pair.zip", "--to", "onnx-files", "--out", tmp_path / "networks")
    done = posetools(site, *words)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'networks'}: folder of ONNX files\n"), done.stderr
    assert sorted(path.name for path in (tmp_path / "networks").iterdir()) == ["det.onnx", "pose.onnx"]
    assert onnx.load(str(tmp_path / "networks/pose.onnx")).graph.output
    done = posetools(site, *words)
    assert (done.returncode, "exists and is not empty" in done.stderr) == (2, True)
    done = posetools(site, "export", "--bundle", tmp_path / "pair.zip", "--to", "openvino", "--out", "x.xml")
    assert (done.returncode, "--to must be one of bundle, onnx-files, got 'openvino'" in done.stderr) == (2, True)


def test_an_exporter_that_fails_leaves_nothing(tmp_path: Path) -> None:
    write_pair(tmp_path / "pair.zip")
    module = (
        "from posetools.plugins import *\nPLUGIN_API = 1\n"
        "def write(bundle, out):\n    out.write_text('half')\n    raise ValueError('no more')\n"
        "IT = ExporterPlugin(title='text', suffix='.txt', write=write)\n"
        "def idle(bundle, out): pass\n"
        "IDLE = ExporterPlugin(title='text', suffix='.txt', write=idle)\n"
    )
    put(tmp_path / "site", "halves", module, {"exporters/half": "IT", "exporters/idle": "IDLE"})
    for name, part in (("half", "failed: ValueError: no more"), ("idle", "must write the path that it is given")):
        words = ("export", "--bundle", tmp_path / "pair.zip", "--to", name, "--out", tmp_path / "out.txt")
        done = posetools(tmp_path / "site", *words)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: plug-in '{name}' (exporters) of package halves 1.5 {part}")
        assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == ["pair.zip", "site"]
