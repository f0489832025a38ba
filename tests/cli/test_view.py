from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.core.skeleton import load_skeleton
from tests.cli.run import run
from tests.coco_sample import edit, write_sample


@pytest.fixture
def cars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_sample(tmp_path / "cars")
    monkeypatch.chdir(tmp_path)
    return Path("cars")


def test_a_sheet_is_written_where_one_stands_and_said_so(cars: Path) -> None:
    done = run("view", cars)
    assert done.status == 0
    assert "wrote view.png: 3 of 3 images" in done.out
    with Pillow.open("view.png") as sheet:
        assert sheet.width > 1000
    done = run("view", cars, "-n", "1", "--split", "train", "--tile", "120x90", "--names")
    assert "wrote view.png: 1 of 2 images" in done.out
    with Pillow.open("view.png") as sheet:
        assert sheet.width == 120 + 2 * 4


def test_the_sheet_of_another_object_has_a_legend_with_its_colors(cars: Path) -> None:
    names = ["beak", "left-wing", "right-wing", *(f"p{number}" for number in range(5))]
    assert run("skeleton", "new", "bird.yaml", "--names", ",".join(names), "--category", "car").status == 0
    text = Path("bird.yaml").read_text(encoding="utf-8")
    links = "links:\n  - {points: [beak, left-wing]}\n  - {points: [beak, right-wing]}\n"
    Path("bird.yaml").write_text(text.replace("sigmas:", links + "sigmas:"), encoding="utf-8")
    for split in ("train", "val"):
        edit(cars / f"{split}_coco.json", lambda document: document["categories"][0].update(keypoints=names))
    assert run("view", cars, "--skeleton", "bird.yaml").status == 0
    skeleton = load_skeleton("bird.yaml")
    with Pillow.open("view.png") as sheet:
        legend = np.asarray(sheet.convert("RGB")).astype(int)[-60:]
    colors = [*(each.color for each in skeleton.keypoints), *(each.color for each in skeleton.links)]
    assert len(set(colors)) >= 9
    for color in colors:
        assert (np.abs(legend - color).max(axis=2) < 40).sum() > 10


def test_every_option_reaches_the_image(cars: Path) -> None:
    options: list[list[str]] = [[], ["--names"], ["--indices"], ["--objects"], ["--columns", "1"], ["--n", "2"]]
    options += [["--tile", "250"], ["--n", "2", "--seed", "3"]]
    images = set()
    for arguments in options:
        assert run("view", cars, *(arguments if "--tile" in arguments else [*arguments, "--tile", "200"])).status == 0
        images.add(Path("view.png").read_bytes())
    assert len(images) == len(options)
    done = run("view", cars, "--objects", "--tile", "100x100")
    assert done.out.endswith("wrote view.png: 6 of 6 objects\n")


def test_single_images_go_into_a_new_folder(cars: Path) -> None:
    done = run("view", cars, "--each")
    assert "wrote view: 3 of 3 images" in done.out
    assert sorted(path.name for path in Path("view").rglob("*.*")) == ["a.jpg", "b.png", "c.jpg"]
    done = run("view", cars, "--each")
    assert done.status == 2
    assert done.err.startswith("error: view: must be a new or empty folder with --each, but is not")


def test_a_finding_is_looked_for_in_any_case_and_nothing_to_show_is_said(cars: Path) -> None:
    edit(cars / "train_coco.json", lambda document: document["annotations"][1].update(area=1.0))
    assert "wrote view.png: 1 of 1 images" in run("view", cars, "--finding", "e104").out
    done = run("view", cars, "--finding", "W205", "--out", "other.png")
    assert done.status == 0
    assert done.out.startswith("no image has W205 duplicate-box; codes in this data: E104 area (1), W211")
    assert not Path("other.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--finding", "E999"], "error: --finding must be a code of docs/findings.md, got 'E999'"),
        (["--tile", "wide"], "error: --tile must be a width, or WIDTHxHEIGHT, of 10 to 9999 pixels, such as 480x360, "),
        (["--predictions", "nothing.json"], "error: nothing.json: cannot be read: No such file or directory"),
        (["--split", "test"], "error: --split must be one of train, val, got 'test'"),
    ],
)
def test_what_cannot_run_exits_with_2_without_a_traceback(cars: Path, arguments: list[str], message: str) -> None:
    done = run("view", cars, *arguments)
    assert done.status == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert not Path("view.png").exists()
