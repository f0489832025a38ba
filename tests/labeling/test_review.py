"""The choice of the next images, and the output folder: links for labelme, and the way back."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

import posetools.formats.labelme.format as labelme
from posetools.core.dataset import Image
from posetools.core.folder import IMAGES, ann_file
from posetools.core.geometry import Floats
from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.datasets.shown import LabeledImage
from posetools.errors import InputError, RequestError
from posetools.formats.coco.write import write_split
from posetools.formats.options import ReadOptions
from posetools.labeling.prelabel import plan_prelabels, prelabel
from posetools.labeling.review.choose import ReviewRequest, ReviewResult, check_review, review
from posetools.labeling.review.data import Candidate, Candidates
from posetools.labeling.review.links import bring_back
from posetools.labeling.review.scores import (
    Term,
    by_boxes,
    by_confidence,
    by_geometry,
    by_labels,
    choose,
    priorities,
)
from posetools.prediction.read import ImagePredictions
from tests.build import make_dataset, make_image
from tests.cli.run import run
from tests.finding import Told, make_pipeline

CAR8 = load_skeleton("car8")
ROOT = Path(__file__).resolve().parents[2]
BOX = np.array([[0.0, 0.0, 100.0, 100.0]])
# Eight points on the diagonal of BOX, from 10 to 80.
POINTS = np.repeat(np.arange(10.0, 90.0, 10.0)[:, None], 2, axis=1)[None]


def found(
    boxes: Floats = BOX, points: Floats = POINTS, scores: float = 0.8, point_scores: float = 0.5
) -> ImagePredictions:
    n = len(boxes)
    return ImagePredictions("a.jpg", boxes, np.full(n, scores), points, np.full((n, 8), point_scores))


def labeled(boxes: Floats = BOX, points: Floats = POINTS, visibility: float = 2.0) -> LabeledImage:
    seen = np.full((len(points), 8, 1), visibility)
    return LabeledImage(Image("a.jpg", 200, 200), boxes, np.concatenate([points, seen], axis=2), ())


def material(
    labels: Sequence[LabeledImage | None], predictions: Sequence[ImagePredictions | None], skeleton: Skeleton
) -> Candidates:
    pairs = zip(labels, predictions, strict=True)
    size = next((one.image for one in labels if one), Image("a.jpg", 200, 200)).size
    return Candidates(tuple(Candidate(Image("a.jpg", *size), *pair) for pair in pairs), skeleton)


NOTHING = found(np.zeros((0, 4)), np.zeros((0, 8, 2)))


def test_confidence_is_that_of_the_least_sure_object() -> None:
    two = replace(found(np.tile(BOX, (2, 1)), np.tile(POINTS, (2, 1, 1))), scores=np.array([0.9, 0.5]))
    terms = by_confidence(material([None] * 3, [two, NOTHING, None], CAR8))
    assert terms == [
        Term(0.75, "least confident object 0.25 (box 0.50, points 0.50)"),
        Term(0.5, "nothing detected"),
        None,
    ]


def test_boxes_count_points_outside_and_overlaps_less_than_usual() -> None:
    # The box of the points is 10 to 80, so their IoU is 0.49; three of four are as usual.
    out = POINTS.copy()
    out[0, 3] = (110.0, 40.0)
    small = found(np.array([[0.0, 0.0, 200.0, 200.0]]))
    usual, outside, less, empty = by_boxes(material([None] * 4, [found(), found(points=out), small, NOTHING], CAR8))
    assert usual == (0.0, "box and points agree") and empty == (0.0, "nothing detected")
    assert outside and outside.value == pytest.approx(10 / 100 / 0.25)
    assert outside.reason == f"{CAR8.names[3]} is 10 px outside its box"
    assert less and less.value == pytest.approx((0.49 - 0.1225) / 0.49)
    assert less.reason == "IoU of the box and the points' box is 0.12, usually 0.49"


def test_labels_count_what_is_missed_what_is_too_many_and_oks() -> None:
    far = POINTS.copy()
    far[0, 5] += (0.0, 30.0)
    elsewhere = found(BOX + 200.0, POINTS + 200.0, scores=0.4)
    hidden = labeled(visibility=0.0)
    pairs = [(labeled(), found()), (labeled(), found(points=far)), (labeled(), elsewhere), (hidden, found())]
    empty = labeled(np.zeros((0, 4)), np.zeros((0, 8, 2)))
    pairs += [(empty, elsewhere), (labeled(), NOTHING), (empty, NOTHING)]
    terms = by_labels(material([a for a, _ in pairs], [b for _, b in pairs], CAR8))
    assert [round(term.value, 4) for term in terms if term] == [0.0, pytest.approx(0.1236, abs=1e-4), 1, 0, 0.4, 1, 0]
    # One of eight points, 30 px away, with sigma 0.05 and an area of 10000.
    oks = (7 + np.exp(-(30**2) / (2 * 10000 * 0.1**2))) / 8
    assert terms[1] and terms[1].value == pytest.approx(1 - oks)
    assert terms[1].reason == f"object 1: OKS {oks:.2f}; {CAR8.names[5]} is 30 px from its label"
    assert terms[2] and terms[2].reason == "labeled object 1 is missed"
    assert terms[4] and terms[4].reason == "an object is detected (0.40), not labeled"
    assert by_labels(material([None, labeled()], [found(), None], CAR8)) == [None, None]


def test_geometry_counts_what_fits_no_car() -> None:
    read = labelme.FORMAT.read([ROOT / "data/labelme"], CAR8, ReadOptions()).dataset
    image, rows = next(
        (image, rows)
        for image, rows in zip(read.images, read.rows_of_images(), strict=True)
        if len(rows) and read.num_labeled[rows.start] == 8
    )
    row = rows.start
    boxes, points = read.boxes[row : row + 1], read.keypoints[row : row + 1].copy()
    sides = boxes[0, 2:] - boxes[0, :2]
    clean = LabeledImage(image, boxes, points.copy(), ())
    points[0, 3, 0] += 0.2 * float(np.hypot(*sides))
    moved = found(boxes, points[:, :, :2])
    few = replace(moved, keypoint_scores=np.array([[0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1]]))
    terms = by_geometry(material([clean, None, None, None], [None, moved, few, None], CAR8))
    assert terms[0] and terms[0].value < 0.2
    assert terms[1] and terms[1].value > 0.4 and "off a rigid car" in terms[1].reason
    assert terms[2] is None and terms[3] is None
    no_template = CAR8.model_copy(update={"template": None})
    assert by_geometry(material([clean], [None], no_template)) == [None]


def test_priority_is_of_the_terms_that_there_are() -> None:
    terms: list[dict[str, Term | None]] = [
        {"a": Term(0.6, ""), "b": Term(0.8, "")},
        {"a": Term(0.6, ""), "b": None},
        {"a": None, "b": None},
    ]
    np.testing.assert_allclose(priorities(terms), [np.sqrt(0.5), 0.6, 0.0])


def test_of_images_alike_only_one_comes_early() -> None:
    looks = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    priority = np.array([0.9, 0.89, 0.5, 0.4])
    assert choose(priority, looks, 10, 1.0)[0] == [0, 2, 3, 1]
    assert choose(priority, looks, 10, 0.0)[0] == [0, 1, 2, 3]
    chosen, apart = choose(np.zeros(4), looks, 3, 1.0)
    assert len(set(chosen)) == 3 and chosen[0] in (2, 3) and 1 not in chosen[1:] and min(apart) > 0
    assert choose(np.zeros(0), np.zeros((0, 2)), 3, 0.5) == ([], [])


def make_folder(folder: Path, number: int = 6) -> Path:
    for i in range(number):
        make_image(folder / f"sub/{i}.jpg", (96, 80), seed=i)
    return folder


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def go(data: Path, out: Path, told: Told | None = None, **options: Any) -> ReviewResult:
    request = ReviewRequest(data=data, out=out, **options)
    check_review(request)
    return review(request, None if told is None else make_pipeline(told))


def test_the_folder_holds_the_list_the_sheet_and_links(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "cars")
    prelabel(plan_prelabels(data), make_pipeline())
    result = go(data, tmp_path / "out", Told(objects=2), number=4)
    assert (len(result.chosen), result.among, result.by) == (4, 6, ("confidence", "boxes", "geometry", "variety"))
    document = load(tmp_path / "out/review.json")
    assert [entry["rank"] for entry in document["pictures"]] == [1, 2, 3, 4]
    first = document["pictures"][0]
    assert first["labelled"] is None, "files never saved by a person are no labels"
    assert (
        first["found"] == 2
        and "confidence 0.28: least confident object 0.72 (box 0.80, points 0.90)" in first["reasons"]
    )
    with (tmp_path / "out/review.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["file_name"] for row in table] == [entry["file_name"] for entry in document["pictures"]]
    assert table[0]["confidence"] == str(first["confidence"])
    with Pillow.open(tmp_path / "out/sheet.jpg") as sheet:
        assert sheet.width > 600
    for entry in document["pictures"]:
        link = tmp_path / "out/pictures" / entry["file_name"]
        assert link.is_symlink() and link.resolve() == (data / entry["file_name"]).resolve()
        assert link.with_suffix(".json").is_symlink()
    read = labelme.FORMAT.read([tmp_path / "out/pictures"], CAR8, ReadOptions(image_roots=(data,)))
    assert {finding.code for finding in read.findings} == {"W325"} and len(read.dataset) == 4


def test_the_same_request_gives_the_same_list(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "cars")
    for name in ("one", "two"):
        go(data, tmp_path / name, Told(objects=1))
    for name in ("review.json", "review.csv", "sheet.jpg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_without_models_images_are_chosen_by_variety(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "cars", 4)
    (data / "sub/copy.jpg").write_bytes((data / "sub/0.jpg").read_bytes())
    result = go(data, tmp_path / "out", number=5)
    assert result.by == ("variety",) and len(result.notes) == 4
    names = [one.candidate.image.file_name for one in result.chosen]
    assert names[-1] in ("sub/copy.jpg", "sub/0.jpg") and result.chosen[-1].variety == 0.0


def predict(data: Path, out: Path, names: list[str]) -> Path:
    from posetools.prediction.write import DocumentWriter

    pipeline = make_pipeline(Told(objects=2))
    with DocumentWriter(out, CAR8, {"bbox_thr": 0.3}) as writer:
        for name in names:
            writer.add(pipeline(data / name), name)
    return out


def test_a_data_set_with_a_file_of_predictions(tmp_path: Path) -> None:
    data = tmp_path / "set"
    dataset = make_dataset(data / IMAGES, images=[f"{i}.png" for i in range(4)], size=(96, 80))
    write_split(dataset.select_images(range(3)), ann_file(data, "train"))
    write_split(dataset.select_images([3]), ann_file(data, "val"))
    file = predict(data / IMAGES, tmp_path / "predictions.json", ["0.png", "2.png", "3.png"])
    result = go(data, tmp_path / "out", predictions=file)
    assert result.by == ("confidence", "boxes", "geometry", "labels", "variety") and len(result.chosen) == 3
    assert "has no predictions for 1 images" in result.notes[0]
    assert any(reason.startswith("labels") for reason in result.chosen[0].reasons)
    read = labelme.FORMAT.read([tmp_path / "out/pictures"], CAR8, ReadOptions())
    kept = dataset.select_images([0, 2, 3])
    np.testing.assert_allclose(read.dataset.boxes, kept.boxes)
    np.testing.assert_array_equal(read.dataset.visibility, kept.visibility)
    assert not (tmp_path / "out/pictures/0.json").is_symlink() and load(tmp_path / "out/review.json")["links"] == []


def test_only_those_without_labels(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "cars", 3)
    (data / "sub/1.json").write_text(json.dumps({"imagePath": "1.jpg", "shapes": []}))
    names = [one.candidate.image.file_name for one in go(data, tmp_path / "out", only="unlabeled").chosen]
    assert sorted(names) == ["sub/0.jpg", "sub/2.jpg"]
    with pytest.raises(RequestError, match="6 images, none of them labeled"):
        go(make_folder(tmp_path / "new"), tmp_path / "other", only="labeled")
    assert not (tmp_path / "other").exists()


def shapes_of(file: Path, count: int) -> bytes:
    document = load(file) if file.is_file() else {"imagePath": f"{file.stem}.jpg"}
    point = {"label": "left-front-tire", "points": [[1, 2]], "shape_type": "point", "group_id": 0}
    return json.dumps({**document, "shapes": [point] * count}).encode()


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    data = make_folder(tmp_path / "cars", 3)
    (data / "sub/0.json").write_text(json.dumps({"imagePath": "0.jpg", "shapes": [], "mine": 1}))
    go(data, tmp_path / "out")
    return tmp_path


def test_what_is_saved_through_a_link_is_in_the_original(linked: Path) -> None:
    link, original = linked / "out/pictures/sub/0.json", linked / "cars/sub/0.json"
    link.write_bytes(shapes_of(link, 1))
    assert bring_back(linked / "out/pictures").files == 1
    assert link.is_symlink() and len(load(original)["shapes"]) == 1
    assert bring_back(linked / "out/pictures").files == 0


def test_a_file_in_the_place_of_a_link_and_a_new_one_are_brought_back(linked: Path) -> None:
    images = linked / "out/pictures/sub"
    replaced = shapes_of(images / "0.json", 2)
    (images / "0.json").unlink()
    (images / "0.json").write_bytes(replaced)
    (images / "1.json").write_bytes(shapes_of(images / "1.json", 3))
    back = bring_back(linked / "out/pictures")
    assert (back.files, back.problems) == (2, ())
    assert load(linked / "cars/sub/0.json") == json.loads(replaced)
    assert len(load(linked / "cars/sub/1.json")["shapes"]) == 3
    assert (images / "0.json").is_symlink() and (images / "1.json").is_symlink()
    assert bring_back(linked / "out").files == 0


def test_predictions_that_nobody_has_saved_are_not_brought_back(linked: Path) -> None:
    images = linked / "out/pictures"
    report = prelabel(plan_prelabels(images), make_pipeline())
    assert (report.new, report.kept) == (2, 1)
    assert bring_back(images).files == 0 and not (linked / "cars/sub/1.json").exists()
    file = images / "sub/1.json"
    # As labelme saves a file in which only a flag was set.
    file.write_text(json.dumps({**load(file), "flags": {"checked": True}}, indent=2))
    assert bring_back(images).files == 1
    assert len(load(linked / "cars/sub/1.json")["shapes"]) == 9 and not (linked / "cars/sub/2.json").exists()


def test_when_both_were_saved_neither_is_touched(linked: Path) -> None:
    copy, original = linked / "out/pictures/sub/0.json", linked / "cars/sub/0.json"
    mine = shapes_of(copy, 2)
    copy.unlink()
    copy.write_bytes(mine)
    original.write_bytes(shapes_of(original, 5))
    back = bring_back(linked / "out/pictures")
    assert back.files == 0 and len(back.problems) == 1
    assert str(copy) in back.problems[0] and str(original) in back.problems[0]
    assert copy.read_bytes() == mine and len(load(original)["shapes"]) == 5


def test_copies_are_brought_back_and_stay_copies(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "cars", 2)
    (data / "sub/0.json").write_text(json.dumps({"imagePath": "0.jpg", "shapes": []}))
    go(data, tmp_path / "out", links="copy")
    file = tmp_path / "out/pictures/sub/0.json"
    file.write_bytes(shapes_of(file, 1))
    assert bring_back(tmp_path / "out").files == 1 and not file.is_symlink()
    assert len(load(data / "sub/0.json")["shapes"]) == 1


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ({"file": "../../x.json", "original": "x.json", "digest": ""}, "a path below the folder of links"),
        ({"file": "x.json", "original": "/etc/passwd", "digest": ""}, "the path of a .json file"),
        ({"file": "x.json", "digest": ""}, "original"),
    ],
)
def test_a_record_that_leads_elsewhere_is_refused(tmp_path: Path, link: dict[str, str], said: str) -> None:
    (tmp_path / "review.json").write_text(json.dumps({"links": [link]}))
    with pytest.raises(InputError) as caught:
        bring_back(tmp_path)
    assert "review.json: links[0]" in str(caught.value) and said in str(caught.value)


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    assert bring_back(tmp_path).files == 0


def test_the_command_prints_the_list_and_what_comes_next(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "cars")
    file = predict(data, tmp_path / "predictions.json", [f"sub/{i}.jpg" for i in range(6)])
    done = run("review", data, "--predictions", file, "--next", "3", "--out", tmp_path / "out", "--by", "boxes,variety")
    assert done.status == 0, done.err
    assert "3 of 6 images" in done.words and "next: posetools annotate" in done.out
    assert load(tmp_path / "out/review.json")["by"] == ["boxes", "variety"]
    again = run("review", data, "--predictions", file, "--out", tmp_path / "out")
    assert again.status == 2 and "exists and is not empty" in again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere must be a folder with images, or a data set"),
        (["empty"], "empty must be a folder with images, or a data set, got 'no image in it'"),
        (["cars", "--by", "looks"], "--by must be names of confidence, boxes, geometry, labels"),
        (["cars", "--by", ","], "--by must be at least one of"),
        (["cars", "--run", "x", "--predictions", "y"], "--predictions cannot be combined with models"),
        (["cars", "--out", "cars/next"], "--out must be outside of cars"),
        (["cars", "--predictions", "y.json"], "y.json: cannot be read"),
        (["cars", "--bundle", "nowhere.zip"], "nowhere.zip: does not exist"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    make_folder(tmp_path / "cars", 1)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    done = run("review", *arguments)
    assert done.status == 2 and said in done.words and not (tmp_path / "review").exists()
