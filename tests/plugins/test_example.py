"""examples/plugin, built as a wheel and installed: its format, check and command, by the commands of posetools."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.plugins.site import ROOT, install, posetools, put

COLUMNS = (ROOT / "examples/plugin/README.md").read_text(encoding="utf-8").partition("    image,")[2].splitlines()[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example") / "site"
    install(ROOT / "examples/plugin", folder)
    return folder


@pytest.fixture(scope="module")
def drones(site: Path) -> Path:
    """Convert six images, each with a drone; the rotors of the third are at one place."""
    home = site.parent
    rows = [f"image,{COLUMNS}"]
    for number in range(6):
        left = "50,41,2" if number == 2 else "50,25,2"
        rows.append(f"{number}.png,10,20,{80 + number},60,75,40,2,15,40,2,{left},50,42,1")
        (home / "src").mkdir(exist_ok=True)
        Image.new("RGB", (96, 64), (40 * number, 90, 120)).save(home / f"src/{number}.png")
    (home / "src/drones.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    done = posetools(site, "convert", "src", "--out", "drones", "--val", "0.34", cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return home / "drones"


def test_the_format_is_auto_detected_and_read_as_it_says(drones: Path) -> None:
    documents = [json.loads((drones / f"{split}_coco.json").read_bytes()) for split in ("train", "val")]
    objects = {
        next(image["file_name"] for image in document["images"] if image["id"] == one["image_id"]): one
        for document in documents
        for one in document["annotations"]
    }
    assert len(objects) == 6
    assert objects["3.png"]["bbox"] == [10, 20, 73, 40]
    assert objects["3.png"]["keypoints"] == [75, 40, 2, 15, 40, 2, 50, 25, 2, 50, 42, 1]
    (category,) = documents[0]["categories"]
    assert (category["name"], category["keypoints"]) == ("drone", ["nose", "tail", "left", "right"])


def test_the_check_reports_under_its_own_code_in_all_outputs(site: Path, drones: Path) -> None:
    files = ("--json", site.parent / "report.json", "--report", site.parent / "report.html")
    done = posetools(site, "validate", drones, *files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "drones/W1 rotors-together (1)" in done.stdout
    document = json.loads((site.parent / "report.json").read_bytes())
    (found,) = [one for one in document["findings"] if one["code"] == "drones/W1"]
    assert (found["title"], found["severity"]) == ("rotors-together", "warning")
    assert "got 1.0 px" in found["message"]
    page = (site.parent / "report.html").read_text(encoding="utf-8")
    assert 'id="drones/W1"' in page and 'data-severity="warning"' in page
    assert "the model learns neither" in page
    assert posetools(site, "validate", drones, "--strict").returncode == 1


def test_subset_takes_the_code(site: Path, drones: Path) -> None:
    done = posetools(site, "subset", drones, "--finding", "drones/W1", "--out", site.parent / "wrong")
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (site.parent / "wrong").glob("*_coco.json")
    assert [image["file_name"] for image in json.loads(file.read_bytes())["images"]] == ["2.png"]
    done = posetools(site, "subset", drones, "--finding", "drones/W2", "--out", site.parent / "none")
    assert (done.returncode, "a code of an installed check, got 'drones/W2'" in done.stderr) == (2, True)


def test_the_command_is_listed_and_runs(site: Path, drones: Path) -> None:
    page = posetools(site, "--help").stdout
    assert re.search(r"\n\nCommands of posetools-drones:\n  drone-sizes +Print how large the drones", page)
    assert page.partition("Commands of")[0] in posetools(None, "--help").stdout
    done = posetools(site, "drone-sizes", drones)
    assert (done.returncode, done.stdout) == (0, "6 drones of 70 to 75 px, median 72 px\n")
    done = posetools(site, "drone-sizes")
    assert (done.returncode, "Missing argument 'DATA'" in done.stderr) == (2, True)


def test_a_bad_line_is_a_finding_and_only_its_image_is_left_out(site: Path, drones: Path, tmp_path: Path) -> None:
    text = (drones.parent / "src/drones.csv").read_text(encoding="utf-8")
    source = drones.parent / "src/drones.csv"
    try:
        source.write_text(text.replace("1.png,10,", "1.png,ten,"), encoding="utf-8")
        done = posetools(site, "convert", source.parent, "--out", tmp_path / "out")
        assert (done.returncode, (tmp_path / "out").exists()) == (1, False)
        assert f"E309 bad-line (1)\n  {source}: line 3: the line must have 17 cells" in done.stdout
        done = posetools(site, "convert", source.parent, "--out", tmp_path / "out", "--keep-going")
        documents = [json.loads(file.read_bytes()) for file in (tmp_path / "out").glob("*_coco.json")]
        assert sum(len(one["images"]) for one in documents) == 5
    finally:
        source.write_text(text, encoding="utf-8")


def test_a_zip_of_the_format_and_a_file_of_it_are_read(site: Path, drones: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "export"), "zip", drones.parent / "src")
    for source in (tmp_path / "export.zip", drones.parent / "src/drones.csv"):
        done = posetools(site, "convert", source, "--out", tmp_path / "out", "--val", "0", "--overwrite")
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(json.loads((tmp_path / "out/train_coco.json").read_bytes())["annotations"]) == 6


def test_the_fuzzer_takes_the_format_by_name(site: Path, tmp_path: Path) -> None:
    assert fuzz(site, "--format", "drones", "--failures", tmp_path / "none").returncode == 0
    assert not list(tmp_path.iterdir())
    module = (site / "posetools_drones.py").read_text(encoding="utf-8")
    careless = module.replace("except (TypeError, ValueError)", "except TypeError")
    assert careless != module
    put(tmp_path / "site", "careless", careless, {"formats/careless": "FORMAT"})
    done = fuzz(tmp_path / "site", "--format", "careless", "--failures", tmp_path / "failures")
    assert done.returncode == 1, done.stdout + done.stderr
    failures = [file.read_text(encoding="utf-8") for file in (tmp_path / "failures").rglob("failure.txt")]
    assert failures and all("of package careless 1.5 fails to read" in text for text in failures)


def fuzz(site: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Damage 150 sources of an installed format."""
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--cases", "150", "--workers", "1", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
