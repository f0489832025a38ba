"""`posetools view`: the choice of images, the places of drawings, and marks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.geometry import Bools, Floats, Ints
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError, OutputError, PosetoolsError, RequestError
from posetools.formats import FORMATS
from posetools.formats.coco import format as coco
from posetools.imaging.drawing import BOX_COLOR
from posetools.labeling.view import MARKED, ViewRequest, ViewResult, view
from tests.coco_sample import Document, edit
from tests.converting import contents

CAR8 = load_skeleton("car8")
GRAY = (90, 90, 90)
SIZE = (400, 300)
BOX = np.array([100.0, 90.0, 300.0, 240.0])
SMALL = np.array([10.0, 20.0, 50.0, 40.0])
TRAIN, VAL = "train_coco.json", "val_coco.json"


def _points(box: Floats) -> Floats:
    shares = np.column_stack([np.linspace(0.1, 0.9, 8), np.tile([0.25, 0.75], 4)])
    return np.column_stack([box[:2] + shares * (box[2:] - box[:2]), np.full(8, 2)])


def _dataset(folder: Path, names: Sequence[str], boxes: Sequence[Floats] = (BOX,), *, split: str = "train") -> Dataset:
    builder = DatasetBuilder(CAR8)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.new("RGB", SIZE, GRAY).save(path)
        builder.add_image(Image(name, *SIZE, path=path, split=split))
        for box in boxes:
            builder.add_instance(name, box=box, keypoints=_points(box), origin=Origin(name))
    return builder.build()


def _write(data: Path, names: Sequence[str], boxes: Sequence[Floats] = (BOX,)) -> Path:
    coco.write({"train": _dataset(data.with_name("source"), names, boxes)}, data, "copy")
    return data


@pytest.fixture
def cars(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    splits = {
        "train": _dataset(source, ("a.png", "b.jpg", "sub/c.png")),
        "val": _dataset(source, ("d.png",), split="val"),
    }
    coco.write(splits, tmp_path / "cars", "copy")
    return tmp_path / "cars"


def _view(data: Path, out: Path | None = None, **more: Any) -> ViewResult:
    return view(replace(ViewRequest(data=data, out=out or data.parent / "view.png"), **more))


def _pixels(path: Path) -> Ints:
    with Pillow.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int64)


def _is(pixels: Ints, color: tuple[int, int, int]) -> Bools:
    close: Bools = np.abs(pixels - color).max(axis=-1) < 12
    return close


def _only_tile(out: Path, tile: tuple[int, int]) -> Ints:
    """Return the tile of a sheet with one."""
    left, top = max(4, tile[0] // 60), 2 * round(max(12, min(30, tile[0] / 16)))
    return _pixels(out)[top : top + tile[1], left : left + tile[0]]


def test_a_sheet_shows_every_point_where_it_is_at_the_size_of_the_tile(cars: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "sheet.png"
    assert _view(cars, out, split="val", tile=(800, None)) == ViewResult(out, 1, 1, ())
    pixels = _only_tile(out, (800, 600))
    for (x, y, _), keypoint in zip(_points(BOX), CAR8.keypoints, strict=True):
        assert tuple(pixels[int(2 * y), int(2 * x)]) == keypoint.color
    assert _is(pixels[330, 196:205], BOX_COLOR).any(), "the box, twice as large"
    first = out.read_bytes()
    _view(cars, out, split="val", tile=(800, None))
    assert out.read_bytes() == first
    assert [path.name for path in out.parent.iterdir()] == ["sheet.png"]


def test_lines_do_not_vanish_where_a_large_image_becomes_a_small_tile(tmp_path: Path) -> None:
    data = _write(tmp_path / "cars", ["a.jpg"])
    Pillow.new("RGB", (4000, 3000), GRAY).save(data / "images/a.jpg")
    document = edit(data / TRAIN, lambda d: d["images"][0].update(width=4000, height=3000))
    assert document["images"][0]["width"] == 4000
    big = [10 * value for value in document["annotations"][0]["bbox"]]
    edit(data / TRAIN, lambda d: d["annotations"][0].update(bbox=big))
    _view(data, tile=(200, 150))
    pixels = _only_tile(tmp_path / "view.png", (200, 150))
    assert _is(pixels[80, 48:52], BOX_COLOR).any(), "at full strength, not a mixture with what is around it"


def test_choices_are_repeatable_with_a_seed_and_spread_evenly_without(cars: Path, tmp_path: Path) -> None:
    assert _view(cars).shown == 4

    def chosen(seed: int | None, name: str) -> list[str]:
        result = _view(cars, tmp_path / name, number=2, seed=seed, each=True)
        assert (result.shown, result.among) == (2, 4)
        return sorted(contents(tmp_path / name))

    assert chosen(None, "even") == ["a.png", "d.png"]
    by_seed = [chosen(seed, f"seed{seed}") for seed in range(6)]
    assert chosen(3, "again") == by_seed[3]
    assert len({tuple(names) for names in by_seed}) > 2


def test_single_images_keep_their_names_and_their_size(cars: Path, tmp_path: Path) -> None:
    assert _view(cars, tmp_path / "some", each=True) == ViewResult(tmp_path / "some", 4, 4, ())
    assert sorted(contents(tmp_path / "some")) == ["a.png", "b.jpg", "d.png", "sub/c.png"]
    with Pillow.open(tmp_path / "some/b.jpg") as image:
        assert (image.size, image.format) == (SIZE, "JPEG")
    x, y, _ = _points(BOX)[3].astype(int)
    assert tuple(_pixels(tmp_path / "some/a.png")[y, x]) == CAR8.keypoints[3].color


def test_names_in_two_splits_and_endings_that_are_not_written_are_kept_apart(tmp_path: Path) -> None:
    data = _write(tmp_path / "cars", ["a.bmp", "a.png"])
    (data / VAL).write_text((data / TRAIN).read_text())
    _view(data, tmp_path / "some", each=True)
    names = ["train/a.bmp.png", "train/a.png", "val/a.bmp.png", "val/a.png"]
    assert sorted(contents(tmp_path / "some")) == names


def test_objects_are_cut_out_with_a_margin_and_enlarged(tmp_path: Path) -> None:
    data = _write(tmp_path / "cars", ["a.png"], (SMALL, BOX))
    assert _view(data, objects=True, each=True, out=tmp_path / "some").shown == 2
    assert sorted(contents(tmp_path / "some")) == ["a_object1.png", "a_object2.png"]
    # 60 x 40 pixels with the margin, enlarged to a longer side of 480; the point is where it was.
    small = _pixels(tmp_path / "some/a_object1.png")
    assert small.shape == (320, 480, 3)
    x, y = ((_points(SMALL)[5, :2] - [0, 10]) * 8).astype(int)
    assert tuple(small[y, x]) == CAR8.keypoints[5].color
    assert _pixels(tmp_path / "some/a_object2.png").shape[1] == 480
    assert _view(data, objects=True, number=1).among == 2


def test_an_object_beyond_the_image_is_shown_as_the_nearest_part_of_it(tmp_path: Path) -> None:
    data = _write(tmp_path / "cars", ["a.png"], (BOX - np.array([2000.0, 0, 2000, 0]),))
    assert _view(data, out=tmp_path / "some", objects=True, each=True).shown == 1
    assert _pixels(tmp_path / "some/a_object1.png").shape == (400, 480, 3)


def test_images_are_upright_and_of_the_size_that_the_file_has(tmp_path: Path) -> None:
    data = _write(tmp_path / "cars", ["a.jpg"])
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.new("RGB", (300, 400), GRAY).save(data / "images/a.jpg", exif=exif)
    _view(data, out=tmp_path / "some", each=True)
    x, y, _ = _points(BOX)[0].astype(int)
    pixels = _pixels(tmp_path / "some/a.jpg")
    assert pixels.shape == (300, 400, 3)
    assert np.abs(pixels[y, x] - CAR8.keypoints[0].color).max() < 40, "JPEG"


@pytest.mark.parametrize("name", ["labelme", "yolo-pose"])
def test_a_source_is_shown_before_it_is_converted(tmp_path: Path, name: str) -> None:
    dataset = _dataset(tmp_path / "pictures", ("a.png", "b.png"))
    write = FORMATS[name].write
    assert write
    source = tmp_path / "labelled"
    source.mkdir()
    write({"train": dataset} if FORMATS[name].keeps_splits else {"all": dataset}, source, "copy")
    assert _view(source, out=tmp_path / "some", each=True).shown == 2
    x, y, _ = _points(BOX)[2].astype(int)
    assert tuple(_pixels(tmp_path / "some/a.png")[y, x]) == CAR8.keypoints[2].color


def test_a_coco_file_alone_is_shown(cars: Path) -> None:
    assert _view(cars / VAL).shown == 1


def _area(document: Document) -> None:
    document["annotations"][1]["area"] = 1.0


def _short(document: Document) -> None:
    document["annotations"][1]["keypoints"] = [1, 2, 2]


def _no_image(document: Document) -> None:
    document["images"][1]["file_name"] = "gone.png"


@pytest.mark.parametrize(
    ("change", "code", "marked", "notes"),
    [
        (_area, "E104", True, 0),
        (_short, "E106", False, 1),
        (_no_image, "E121", False, 1),
        (lambda d: d["annotations"].append({**d["annotations"][1], "id": 99}), "W205", True, 0),
        (lambda d: d["annotations"].pop(1), "W210", False, 0),
    ],
)
def test_a_finding_leads_to_its_image_and_object(
    cars: Path, change: Callable[[Document], object], code: str, marked: bool, notes: int
) -> None:
    edit(cars / TRAIN, change)
    result = _view(cars, finding=code, tile=(400, None), columns=1)
    assert (result.shown, result.among) == (1, 1)
    assert len(result.notes) == notes, result.notes
    tile = _only_tile(cars.parent / "view.png", SIZE)
    # A tile of JPEG: b.jpg is the second image.
    assert _is(tile, MARKED).any() == marked
    assert _is(tile, GRAY).mean() > 0.5 or code == "E121"


def test_of_several_objects_only_those_that_are_meant_are_marked_or_cut_out(tmp_path: Path) -> None:
    data = _write(tmp_path / "cars", ["a.png", "b.png"], (SMALL, BOX))
    edit(data / TRAIN, _area)
    _view(data, finding="E104", tile=SIZE)
    tile = _only_tile(tmp_path / "view.png", SIZE)
    assert _is(tile[85:245, 95:305], MARKED).any()
    assert _is(tile[15:45, 5:55], BOX_COLOR).any()
    assert not _is(tile[15:45, 5:55], MARKED).any()
    assert _view(data, out=tmp_path / "some", finding="E104", objects=True, each=True).among == 1
    assert list(contents(tmp_path / "some")) == ["a_object2.png"]


def test_findings_of_a_labeled_source_are_those_of_its_reader(tmp_path: Path) -> None:
    source = tmp_path / "labelled"
    source.mkdir()
    write = FORMATS["labelme"].write
    assert write
    write({"all": _dataset(tmp_path / "pictures", ("a.png", "b.png"))}, source, "copy")
    edit(source / "b.json", lambda d: d["shapes"][3].update(label="mirror"))
    Pillow.new("RGB", SIZE, GRAY).save(source / "c.png")
    result = _view(source, tmp_path / "some", finding="E301", each=True, skeleton="car8")
    assert list(contents(tmp_path / "some")) == ["b.png"]
    assert result.notes == ("reading errors: 1, which are not drawn; see `posetools convert`",)


def test_codes_that_are_unknown_do_not_occur_or_are_of_no_image(cars: Path) -> None:
    with pytest.raises(
        RequestError, match=r"--finding must be .*got 'E999'\n  codes in this data: .*W211 few-iterations \(1\)"
    ):
        _view(cars, finding="E999")
    result = _view(cars, finding="E104")
    assert result.out is None
    assert result.notes[0].startswith("no image has E104 area; codes in this data: ")
    result = _view(cars, finding="W211")
    assert result.out is None
    assert "W211 few-iterations, on no single image: " in result.notes[0]
    assert not (cars.parent / "view.png").exists()


def test_findings_are_those_of_the_split_that_is_asked_for(cars: Path) -> None:
    edit(cars / TRAIN, _area)
    assert _view(cars, finding="E104", split="train").shown == 1
    assert _view(cars, finding="E104", split="val").out is None


def test_an_image_that_cannot_be_read_stays_blank_and_is_named(cars: Path, tmp_path: Path) -> None:
    (cars / "images/d.png").write_bytes(b"no image")
    (cars / "images/a.png").write_bytes((cars / "images/a.png").read_bytes()[:200])
    result = _view(cars)
    assert (result.shown, len(result.notes)) == (4, 2)
    assert all("image cannot be read" in note for note in result.notes)
    result = _view(cars, tmp_path / "some", each=True)
    assert (result.shown, result.among) == (2, 4)
    assert sorted(contents(tmp_path / "some")) == ["b.jpg", "sub/c.png"]


def _predict(path: Path, names: Sequence[str], shift: float = 20.0) -> Path:
    """Write predictions in the readable form: the box and its points, shifted to the right."""
    points = _points(BOX)[:, :2] + [shift, 0]
    instance = {
        "box": (BOX + np.array([shift, 0, shift, 0])).tolist(),
        "score": 0.93,
        "keypoints": dict(zip(CAR8.names, points.tolist(), strict=True)),
        "keypoint_scores": {name: 0.9 if i else 0.1 for i, name in enumerate(CAR8.names)},
    }
    size = {"width": SIZE[0], "height": SIZE[1]}
    images = [{"file_name": name, **size, "instances": [instance]} for name in names]
    path.write_text(json.dumps({"keypoint_names": list(CAR8.names), "pictures": images}))
    return path


def test_predictions_stand_beside_the_labels_without_unsure_points(cars: Path, tmp_path: Path) -> None:
    file = _predict(tmp_path / "predictions.json", ["a.png", "d.png"])
    result = _view(cars, tmp_path / "some", predictions=file, each=True)
    assert (result.shown, result.among) == (2, 2)
    pixels = _pixels(tmp_path / "some/a.png")
    assert pixels.shape == (300, 802, 3)
    for i, (x, y, _) in enumerate(_points(BOX).astype(int)):
        color = CAR8.keypoints[i].color
        assert tuple(pixels[y, x]) == color
        assert (tuple(pixels[y, 402 + x + 20]) == color) == (i > 0), "the first one has a score of 0.1"
    _view(cars, predictions=file, split="val", tile=SIZE)
    assert _pixels(tmp_path / "view.png").shape[1] == 802 + 2 * (802 // 60)


def test_predictions_of_coco_go_by_the_ids_of_the_data(cars: Path, tmp_path: Path) -> None:
    ids = {image["file_name"]: image["id"] for image in json.loads((cars / VAL).read_text())["images"]}
    points = np.column_stack([_points(BOX)[:, :2] + [20, 0], np.full(8, 0.9)]).ravel().tolist()
    result = {
        "image_id": ids["d.png"],
        "category_id": 1,
        "keypoints": points,
        "score": 0.8,
        "bbox": [120, 90, 200, 150],
    }
    file = tmp_path / "results.json"
    file.write_text(json.dumps([result]))
    for split in (None, "val"):
        assert _view(cars, predictions=file, split=split).shown == 1
    with pytest.raises(RequestError, match=r"images must be those of the data, such as 'a\.png', got 'd\.png'"):
        _view(cars, predictions=file, split="train")
    edit(cars / VAL, lambda d: (d["images"][0].update(id=1), d["annotations"][0].update(image_id=1)))
    with pytest.raises(RequestError, match="ids must differ between splits\n  fix: choose one with --split"):
        _view(cars, predictions=file)
    file.write_text(json.dumps([{**result, "image_id": 1}]))
    assert _view(cars, predictions=file, split="val").shown == 1


def test_of_one_object_the_prediction_is_shown_that_fits_it_best(tmp_path: Path) -> None:
    data = _write(tmp_path / "cars", ["a.png"], (SMALL, BOX))
    file = _predict(tmp_path / "predictions.json", ["a.png"])
    _view(data, tmp_path / "some", predictions=file, objects=True, each=True)
    large = _pixels(tmp_path / "some/a_object2.png")
    middle = large.shape[1] // 2
    assert _is(large[:, :middle], BOX_COLOR).any()
    assert _is(large[:, middle:], BOX_COLOR).any()
    small = _pixels(tmp_path / "some/a_object1.png")
    assert not _is(small[:, small.shape[1] // 2 + 5 :], BOX_COLOR).any(), "nothing is predicted there"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"data": "nothing"}, "nothing: must be a data set folder or a labeled source, but does not exist"),
        ({"data": "empty"}, "empty: must be a data set folder, or in a format that can be auto-detected, but"),
        ({"split": "test"}, "--split must be one of train, val, got 'test'"),
        ({"number": 0}, "--n must be at least 1, got 0"),
        ({"columns": 0}, "--columns must be at least 1, got 0"),
        ({"out": "empty"}, "must be the file of the sheet, but is a folder"),
        ({"out": "sheet.txt"}, "--out must be a file that ends with .jpeg, .jpg, .png, .webp, got"),
        ({"out": "cars/images/a.png"}, "is one of the labeled images"),
        ({"out": "cars", "each": True}, "must be a new or empty folder with --each, but is not"),
        ({"out": "cars/train_coco.json", "each": True}, "must be a new or empty folder with --each, but is not"),
        ({"tile": (9000, 9000)}, "the sheet must be at most 120 million pixels, got"),
        ({"predictions": "other.json"}, "images must be those of the data, such as 'a.png', got 'z.png'"),
        ({"skeleton": "horse"}, "skeleton must be one of car8, coco17 or the path of a YAML file, got 'horse'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    cars: Path, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    _predict(tmp_path / "other.json", ["z.png"])
    more = dict(more)
    paths: dict[str, Any] = {key: tmp_path / more[key] for key in ("data", "out", "predictions") if key in more}
    more.pop("data", None)
    before = contents(tmp_path)
    with pytest.raises(PosetoolsError) as caught:
        _view(paths.pop("data", cars), **(more | paths))
    assert message in str(caught.value)
    assert contents(tmp_path) == before


def test_a_target_that_cannot_be_written_and_a_broken_data_set_are_told(cars: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        _view(cars, tmp_path / "source/a.png/view.png")
    (cars / TRAIN).write_text("{")
    (cars / VAL).unlink()
    with pytest.raises(InputError, match="is not valid JSON"):
        _view(cars)
    with pytest.raises(
        RequestError, match="no image could be read, with the keypoints of car8\n  fix: `posetools validate"
    ):
        _view(cars, skeleton="car8")
