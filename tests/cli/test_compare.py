"""``posetools merge``, ``subset``, ``diff`` and ``sigmas``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from posetools.core.dataset import Dataset
from posetools.core.skeleton import read_skeleton
from tests.build import make_dataset
from tests.cli.run import run
from tests.converting import contents, write_source


def _splits(whole: Dataset) -> dict[str, Dataset]:
    last = len(whole.images) - 1
    return {"train": whole.select_images(range(last)), "val": whole.select_images([last])}


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    folders = []
    for number, name in enumerate(("a", "b")):
        whole = make_dataset(tmp_path / f"p{name}", images=[f"{i}.jpg" for i in range(3)], seed=40 * number)
        folders.append(write_source(tmp_path / name, "coco", _splits(whole)))
    return folders[0], folders[1]


def test_merge_tells_what_was_renamed(two: tuple[Path, Path], tmp_path: Path) -> None:
    done = run("merge", *two, "--out", tmp_path / "out", "--images", "hardlink")
    assert done.status == 0
    assert "│ images │ 4 │ 2 │" in done.words
    assert "renamed: 6" in done.out.splitlines()
    assert f"  {two[0]}: 0.jpg is a/0.jpg" in done.out.splitlines()
    assert f"wrote {tmp_path}/out" in done.out.splitlines()
    assert done.out.splitlines()[-1] == f"next: posetools validate {tmp_path}/out"
    assert (tmp_path / "out/images/a/0.jpg").samefile(two[0] / "images/0.jpg")
    again = run("merge", *two, "--out", tmp_path / "out")
    assert (again.status, again.err.splitlines()[0]) == (2, f"error: {tmp_path}/out: exists and is not empty")
    assert run("merge", two[0], "--out", tmp_path / "x").err == "error: merge needs at least 2 data sets, got 1\n"
    assert run("merge", *two, "--out", tmp_path / "x", "--map", "x").status == 2


def test_subset_tells_how_many_were_kept(two: tuple[Path, Path], tmp_path: Path) -> None:
    done = run("subset", two[0], "--out", tmp_path / "out", "--names", "[01].jpg")
    assert done.status == 0
    assert "train: kept 2 of 2 images, 4 of 4 objects" in done.out.splitlines()
    assert "val: no image left, so no val_coco.json" in done.out.splitlines()
    assert done.out.splitlines()[-2:] == [
        f"next: posetools validate {tmp_path}/out",
        f"      posetools split {tmp_path}/out --val 0.1  (training needs train and val)",
    ]
    few = run(
        "subset", two[0], "--out", tmp_path / "few", "--limit", "2", "--split", "train", "--without-finding", "w205"
    )
    assert few.status == 0
    assert "val: not requested" in few.out
    none = run("subset", two[0], "--out", tmp_path / "none", "--min-size", "5000")
    assert none.err == f"error: {two[0]}: no image meets all conditions; nothing was written\n"
    assert not (tmp_path / "none").exists()


def _moved(folder: Path, target: Path, *, noise: float = 0.0) -> Path:
    """Write a copy of a data set's annotations, with noise on all labeled points."""
    target.mkdir()
    rng = np.random.default_rng(1)
    for path in folder.glob("*_coco.json"):
        document = json.loads(path.read_text())
        for entry in document["annotations"]:
            points = np.array(entry["keypoints"]).reshape(8, 3)
            shift = rng.normal(0, 1, (8, 2)) * noise * np.sqrt(entry["area"] / 2)
            points[:, :2] += shift * (points[:, 2:] > 0)
            entry["keypoints"] = points.ravel().tolist()
        (target / path.name).write_text(json.dumps(document))
    return target


def test_diff_prints_tables_and_writes_json(two: tuple[Path, Path], tmp_path: Path) -> None:
    same = run("diff", two[0], two[0], "--exit-code")
    assert same.status == 0
    assert "of these, moved" not in same.out
    changed = _moved(two[0], tmp_path / "changed", noise=0.02)
    before = contents(changed)
    done = run("diff", two[0], changed, "--threshold", "0.01", "--json", tmp_path / "diff.json")
    assert done.status == 0
    assert contents(changed) == before
    document = json.loads((tmp_path / "diff.json").read_text())
    number = document["overall"]["moved"]["number"]
    assert number == document["overall"]["labelled"]["a"] > 10
    assert f"│ all │ {number} │ {number} │ 0 │ 0 │ 0 │ 0 │" in done.words
    assert f"│ all │ {number} │ {document['overall']['moved']['mean']:.1f} │" in done.words
    assert "images in both: 3, added: 0, removed: 0, in another split: 0" in done.out.splitlines()
    assert len(document["changes"]) == number
    assert max(map(len, done.out.splitlines())) <= 100
    assert run("diff", two[0], changed, "--exit-code").status == 1
    assert run("diff", two[0], tmp_path / "no", "--exit-code").status == 2


def test_sigmas_prints_a_table_and_writes_a_skeleton(tmp_path: Path) -> None:
    whole = make_dataset(tmp_path / "p", images=[f"{i:02}.jpg" for i in range(40)], size=(640, 480), seed=3)
    a = write_source(tmp_path / "a", "coco", _splits(whole))
    b = _moved(a, tmp_path / "b", noise=0.03)
    skeleton = tmp_path / "mine.yaml"
    assert run("skeleton", "new", skeleton, "--from", "car8").status == 0
    done = run("sigmas", a, b, "--update", skeleton, "--json", tmp_path / "s.json")
    assert (done.status, done.err.count("error")) == (0, 0)
    measured = json.loads((tmp_path / "s.json").read_text())["keypoints"]
    sigmas = dict(zip(measured, read_skeleton(skeleton).sigmas, strict=True))
    assert sigmas == {name: pytest.approx(each["sigma"], rel=1e-3) for name, each in measured.items()}
    assert all(0.02 < sigma < 0.04 for sigma in sigmas.values())
    first = measured["left-front-bumper"]
    assert f"│ left-front-bumper │ {first['objects']} │ {first['sigma']:.4f} │ {first['low']:.4f} to" in done.words
    assert f"wrote {skeleton}" in done.out.splitlines()
    few = run("sigmas", a, b, "--match-iou", "1.5")
    assert few.err.startswith("error: --match-iou must be greater than 0 and at most 1, got 1.5")
