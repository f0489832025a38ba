"""Predictions next to the images: read back as labels, replaced, and never written over a person's labels."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import posetools.formats.labelme.format as labelme
from posetools.core.dataset import Visibility
from posetools.core.skeleton import load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.datasets.own_skeleton import own_skeleton
from posetools.errors import RequestError
from posetools.formats.labelme.write import is_untouched
from posetools.formats.options import ReadOptions
from posetools.labeling.prelabel import PrelabelReport, plan_prelabels, prelabel
from posetools.pairs.pipeline import PosePipeline
from tests.build import make_image
from tests.cli.run import run
from tests.finding import Told, make_pipeline

CAR8 = load_skeleton("car8")
SCORES = (0.9, 0.1, 0.9, 0.9, 0.2, 0.9, 0.9, 0.9)


def write(folder: Path, *, replace: bool = False, told: Told | None = None) -> PrelabelReport:
    return prelabel(plan_prelabels(folder, replace=replace), make_pipeline(told))


def load(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def save(file: Path, document: Any) -> bytes:
    """Save as labelme does: indented by two, without a line feed at the end."""
    file.write_text(json.dumps(document, indent=2, ensure_ascii=False), encoding="utf-8")
    return file.read_bytes()


def test_what_is_written_is_read_as_labels(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", (320, 240), orientation=6)
    make_image(tmp_path / "sub/b.png")
    report = write(tmp_path, told=Told(objects=2, points=SCORES))
    assert (report.new, report.renewed, report.kept, report.objects, report.problems) == (2, 0, 0, 4, [])
    document = load(tmp_path / "a.json")
    assert (document["imageWidth"], document["imageHeight"], document["imageData"]) == (240, 320, None)
    rectangle, first, second = document["shapes"][:3]
    assert (rectangle["label"], rectangle["group_id"], rectangle["description"]) == ("car", 0, "score 0.80")
    assert (first["flags"], second["flags"]) == ({}, {"occluded": True})
    assert (first["description"], second["description"]) == ("score 0.90", "score 0.10")
    read = labelme.FORMAT.read([tmp_path], CAR8, ReadOptions())
    # They are read, with a warning that they are unchecked.
    assert [(finding.code, Path(finding.file).name) for finding in read.findings] == [
        ("W325", "a.json"),
        ("W325", "b.json"),
    ]
    assert [image.file_name for image in read.dataset.images] == ["a.jpg", "sub/b.png"]
    assert (read.dataset.visibility[:, [1, 4]] == Visibility.HIDDEN).all()


def test_files_of_a_model_are_renewed_and_the_same_twice(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg")
    write(tmp_path)
    before = (tmp_path / "a.json").read_bytes()
    assert is_untouched(before)
    again = write(tmp_path)
    assert (again.new, again.renewed) == (0, 1) and (tmp_path / "a.json").read_bytes() == before
    write(tmp_path, told=Told(objects=3))
    assert sum(shape["shape_type"] == "rectangle" for shape in load(tmp_path / "a.json")["shapes"]) == 3


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda document: document.copy(), id="saved without a change"),
        pytest.param(lambda document: document["shapes"][1]["points"][0].__setitem__(0, 7.0), id="a point moved"),
        pytest.param(lambda document: document.update(flags={"checked": True}), id="checked"),
        pytest.param(lambda document: document.pop("posetools"), id="without the mark"),
        pytest.param(lambda document: document.update(posetools="x"), id="with another mark"),
        pytest.param(lambda document: document.update(shapes=[]), id="no object"),
    ],
)
def test_a_file_that_a_person_saved_stays(tmp_path: Path, change: Any) -> None:
    make_image(tmp_path / "a.jpg")
    write(tmp_path)
    document = load(tmp_path / "a.json")
    change(document)
    saved = save(tmp_path / "a.json", document)
    assert not is_untouched(saved)
    report = write(tmp_path, told=Told(objects=2))
    assert (report.written, report.kept, report.problems) == (0, 1, [])
    assert (tmp_path / "a.json").read_bytes() == saved


def test_replaced_when_told_to_and_unknown_keys_survive(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg")
    write(tmp_path)
    document = load(tmp_path / "a.json")
    document |= {"flags": {"night": True, "checked": True}, "owner": {"name": "é"}, "imageData": "AAAA"}
    save(tmp_path / "a.json", document)
    report = write(tmp_path, replace=True, told=Told(objects=2))
    assert (report.replaced, report.kept) == (1, 0)
    after = load(tmp_path / "a.json")
    assert (after["flags"], after["owner"], after["imageData"]) == ({"night": True}, {"name": "é"}, None)
    assert is_untouched((tmp_path / "a.json").read_bytes())
    write(tmp_path)
    assert load(tmp_path / "a.json")["owner"] == {"name": "é"}, "also when the file is renewed"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not valid JSON"),
        ('{"mine": 1}', "must be a labelme file"),
        ('{"imagePath": "other.jpg", "shapes": []}', "imagePath must be 'a.jpg'"),
    ],
)
def test_a_file_that_is_something_else_stays_even_then(tmp_path: Path, content: str, said: str) -> None:
    make_image(tmp_path / "a.jpg")
    make_image(tmp_path / "b.jpg")
    (tmp_path / "a.json").write_text(content)
    report = write(tmp_path, replace=True)
    assert (report.new, report.replaced) == (1, 0) and (tmp_path / "a.json").read_text() == content
    (problem,) = report.problems
    assert str(tmp_path / "a.json") in problem and said in problem and "it is kept" in problem


def test_an_image_that_is_labeled_elsewhere_gets_no_second_file(tmp_path: Path) -> None:
    make_image(tmp_path / "images/a.jpg")
    (tmp_path / "labels").mkdir()
    save(tmp_path / "labels/a.json", {"imagePath": "..\\images\\a.jpg", "shapes": []})
    report = write(tmp_path, replace=True)
    assert (report.written, report.kept) == (0, 1) and not (tmp_path / "images/a.json").exists()


def test_a_file_that_is_saved_meanwhile_stays(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg")
    mine = {"imagePath": "a.jpg", "shapes": []}
    report = write(tmp_path, told=Told(meanwhile=lambda: save(tmp_path / "a.json", mine)))
    assert (report.written, report.kept) == (0, 1) and "was saved by someone" in report.problems[0]
    assert load(tmp_path / "a.json") == mine


def test_an_image_that_cannot_be_read_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    make_image(tmp_path / "b.jpg")
    (tmp_path / "a.jpg").write_bytes(b"no image")
    report = write(tmp_path)
    assert report.new == 1 and "a.jpg: image cannot be read" in report.problems[0]
    assert not (tmp_path / "a.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="makes links and pipes")
def test_a_link_to_a_labelme_file_stays_a_link(tmp_path: Path) -> None:
    make_image(tmp_path / "in/a.jpg")
    write(tmp_path / "in")
    (tmp_path / "links").mkdir()
    for name in ("a.jpg", "a.json"):
        (tmp_path / "links" / name).symlink_to(tmp_path / "in" / name)
    assert write(tmp_path / "links", told=Told(objects=2)).renewed == 1
    assert (tmp_path / "links/a.json").is_symlink() and len(load(tmp_path / "in/a.json")["shapes"]) == 18


def test_two_images_with_one_file_are_refused(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg")
    make_image(tmp_path / "a.png")
    with pytest.raises(RequestError, match=r"a\.png must be the only image with the labelme file a\.json"):
        plan_prelabels(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["."], "name the models to use"),
        ([".", "--run", "x", "--bundle", "y"], "name one pair of models, got --run, --bundle"),
        ([".", "--det", "x", "y"], "--det and --pose must be given together, got only --det"),
        (["nowhere", "--run", "x"], "nowhere must be an existing folder"),
        ([".", "--run", "x"], "must be a folder with images"),
    ],
)
def test_what_cannot_be_done_is_said_before_models_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("prelabel", *arguments)
    assert done.status == 2 and said in done.words


def test_nothing_to_do_needs_no_models(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg")
    save(tmp_path / "a.json", {"imagePath": "a.jpg", "shapes": []})
    done = run("prelabel", tmp_path, "--run", tmp_path / "nowhere")
    assert done.status == 0 and "wrote 0 labelme files" in done.out and "kept 1 saved by a person" in done.out


def test_the_models_skeleton_stays_in_the_folder_for_annotate_and_convert(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        make_image(tmp_path / f"dogs/{name}.jpg", seed=number)
    dog = draft_skeleton("dog", ["nose", "left_ear", "right_ear"], "dog").skeleton
    told = Told(classes=("dog",), num_keypoints=3)
    report = prelabel(plan_prelabels(tmp_path / "dogs"), PosePipeline(told, told, dog))
    assert report.skeleton == tmp_path / "dogs/skeleton.yaml"
    assert own_skeleton([tmp_path / "dogs"]).skeleton == dog
    done = run("convert", tmp_path / "dogs", "--out", tmp_path / "set")
    assert done.status == 0, done.words
    # Models of other keypoints leave the folder unchanged.
    before = (tmp_path / "dogs/a.json").read_bytes()
    with pytest.raises(RequestError, match="keypoints must be those of the models"):
        write(tmp_path / "dogs")
    assert (tmp_path / "dogs/a.json").read_bytes() == before
    make_image(tmp_path / "cars/a.jpg")
    assert write(tmp_path / "cars").skeleton is None
    assert [path.name for path in sorted((tmp_path / "cars").iterdir())] == ["a.jpg", "a.json"]
