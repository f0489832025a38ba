"""``posetools predict`` with a bundle of tiny networks: refusals before anything runs, and the written files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from posetools import PipelineOptions, PosePipeline
from posetools.errors import RequestError
from posetools.imaging.frames import read_image
from posetools.imaging.video import new_video, probe
from tests.cli.run import run
from tests.runtime.tiny import image, png, write


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write(tmp_path / "cars.zip", seeds=())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "sub/a.png")):
        (folder / name).write_bytes(png(image(seed)))
    return folder


def make_video(path: Path, frames: int) -> Path:
    with new_video(path, 12.0, (192, 128)) as video:
        for seed in range(frames):
            video.write(image(seed))
    return path


def test_everything_at_once(bundle: Path, photos: Path, tmp_path: Path) -> None:
    video, out = make_video(tmp_path / "clip.avi", 9), tmp_path / "out"
    done = run(
        "predict", photos, video, "--bundle", bundle, "--output-root", out, "--save-predictions", "--draw-heatmap"
    )
    assert done.status == 0, done.err
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert found == ["a.png", "b.png", "clip.avi", "predictions.json", "results_coco.json", "sub/a.png"]
    assert (probe(out / "clip.avi").total, probe(out / "clip.avi").fps) == (9, 12.0)
    images = json.loads((out / "predictions.json").read_text())["pictures"]
    assert [one["file_name"] for one in images] == ["a.png", "b.png", "sub/a.png", *["clip.avi"] * 9]
    pipeline = PosePipeline.from_bundle(bundle)
    for name, one in zip(("a.png", "b.png", "sub/a.png"), images, strict=False):
        result = pipeline(photos / name)
        assert len(one["instances"]) == len(result) > 0
        np.testing.assert_allclose([found["box"] for found in one["instances"]], result.boxes, atol=0.006)
        keypoints = [list(found["keypoints"].values()) for found in one["instances"]]
        np.testing.assert_allclose(keypoints, result.keypoints, atol=0.006)
    results = json.loads((out / "results_coco.json").read_text())
    assert len(results) == sum(len(one["instances"]) for one in images)
    assert {one["image_id"] for one in results} == set(range(1, 13))
    assert "12 images" in done.words and f"{len(results)} objects" in done.words


@pytest.fixture
def labeled(tmp_path: Path) -> Path:
    """Return a data set of four images: 11 and 12 in train, 21 and 22 in val, the last one in a subfolder."""
    root = tmp_path / "set"
    (root / "images" / "sub").mkdir(parents=True)
    names = {11: "a.png", 12: "b.png", 21: "c.png", 22: "sub/a.png"}
    for number, name in names.items():
        (root / "images" / name).write_bytes(png(image(number)))
    for split, numbers in (("train", (11, 12)), ("val", (21, 22))):
        images = [{"id": i, "file_name": names[i], "width": 192, "height": 128} for i in numbers]
        document = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "car"}]}
        (root / f"{split}_coco.json").write_text(json.dumps(document))
    return root


def image_ids(labels: Path, results: Path) -> set[int]:
    """Return the images for which pycocotools has results; it refuses unknown image ids."""
    truth = COCO(str(labels))
    return {one["image_id"] for one in truth.loadRes(str(results)).anns.values()}


def test_images_of_a_data_set_keep_its_ids(bundle: Path, labeled: Path, tmp_path: Path) -> None:
    images, out = labeled / "images", tmp_path / "out"
    arguments: list[str | Path] = ["--bundle", bundle, "--save-predictions", "--output-root"]
    done = run("predict", images / "c.png", images / "sub", *arguments, out)
    assert done.status == 0, done.err
    assert image_ids(labeled / "val_coco.json", out / "results_coco.json") == {21, 22}
    assert not list(out.glob("results_*_coco.json"))
    done = run("predict", images, *arguments, tmp_path / "all")
    assert done.status == 0, done.err
    for split, ids in (("train", {11, 12}), ("val", {21, 22})):
        path = tmp_path / "all" / f"results_{split}_coco.json"
        assert image_ids(labeled / f"{split}_coco.json", path) == ids
        assert str(path) in done.out
    results = json.loads((tmp_path / "all" / "results_coco.json").read_text())
    assert {one["image_id"] for one in results} == {11, 12, 21, 22}


def test_ids_are_counted_where_no_data_set_has_them_all(
    bundle: Path, labeled: Path, photos: Path, tmp_path: Path
) -> None:
    arguments: list[str | Path] = ["--bundle", bundle, "--save-predictions", "--output-root"]
    done = run("predict", labeled / "images", photos, *arguments, tmp_path / "both")
    assert done.status == 0, done.err
    assert f"image ids are counted from 1: not all images are of the data set {labeled}" in done.words
    (labeled / "images" / "new.png").write_bytes(png(image(5)))
    done = run("predict", labeled / "images", *arguments, tmp_path / "new")
    assert done.status == 0, done.err
    assert f"image ids are counted from 1: 1 of 5 images are in no split of {labeled}" in done.words
    results = json.loads((tmp_path / "new" / "results_coco.json").read_text())
    assert {one["image_id"] for one in results} == {1, 2, 3, 4, 5}
    assert image_ids(labeled / "val_coco.json", tmp_path / "new" / "results_val_coco.json") == {21, 22}


def test_ids_that_the_splits_share_are_of_each_split_alone(bundle: Path, labeled: Path, tmp_path: Path) -> None:
    path = labeled / "train_coco.json"
    path.write_text(path.read_text().replace('"id": 11', '"id": 21'))
    out = tmp_path / "out"
    done = run("predict", labeled / "images", "--bundle", bundle, "--save-predictions", "--output-root", out)
    assert f"the splits of {labeled} share some" in done.words
    assert image_ids(labeled / "val_coco.json", out / "results_val_coco.json") == {21, 22}
    assert image_ids(path, out / "results_train_coco.json") == {21, 12}


def test_no_boxes_are_drawn_where_they_are_not_wanted(bundle: Path, photos: Path, tmp_path: Path) -> None:
    drawn = {}
    for option in ("--draw-bbox", "--no-draw-bbox"):
        out = tmp_path / option
        assert run("predict", photos / "a.png", "--bundle", bundle, "--output-root", out, option).status == 0
        drawn[option] = read_image(out / "a.png")
    assert (drawn["--draw-bbox"] != drawn["--no-draw-bbox"]).any()
    high: list[str | Path] = ["--bbox-thr", "1", "--output-root", tmp_path / "none"]
    assert run("predict", photos / "a.png", "--bundle", bundle, *high).status == 0
    np.testing.assert_array_equal(read_image(tmp_path / "none" / "a.png"), read_image(photos / "a.png"))


def test_heatmaps_of_a_bundle_lie_on_the_objects(bundle: Path, photos: Path) -> None:
    result = PosePipeline.from_bundle(bundle, PipelineOptions(heatmaps=True))(photos / "a.png")
    assert result.heatmaps is not None and result.heatmaps.shape[:2] == (len(result), 3)
    assert result.raw is None
    with_maps, without = (np.asarray(result.draw(heatmaps=heatmaps)).astype(int) for heatmaps in (True, False))
    changed = np.argwhere((with_maps != without).any(axis=2))
    assert len(changed) > 0
    left, top = (result.crops[:, :2] - result.crops[:, 2:] / 2).min(axis=0)
    assert changed[:, 1].min() >= left - 1 and changed[:, 0].min() >= top - 1


def test_nothing_is_lost_when_the_user_chooses_the_folder_of_the_inputs(bundle: Path, photos: Path) -> None:
    before = (photos / "a.png").read_bytes()
    done = run("predict", photos, "--bundle", bundle, "--output-root", photos)
    assert done.status == 2
    assert "--output-root" in done.err and "would replace the input" in done.err
    assert (photos / "a.png").read_bytes() == before
    assert sorted(path.name for path in photos.rglob("*.*")) == ["a.png", "a.png", "b.png"]


@pytest.mark.usefixtures("bundle", "photos")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the models to use"),
        (["--bundle", "cars.zip", "--run", "x"], "name one pair of models, got --run, --bundle"),
        (["--det", "a", "b"], "--det and --pose must be given together, got only --det"),
        (["--bundle", "cars.zip", "--save-predictions"], "--save-predictions requires --output-root DIR"),
        (["--bundle", "cars.zip", "--format", "labelme"], "--format labelme requires --output-root DIR"),
        (
            ["--bundle", "cars.zip", "--ann-file", "x.json", "--output-root", "o"],
            "--ann-file requires --save-predictions",
        ),
        (["--bundle", "cars.zip", "--output-root", "cars.zip"], "must be a folder, but is a file"),
        (["--bundle", "cars.zip", "--flip-test"], "--flip-test: cannot be combined with a bundle"),
        (["--bundle", "cars.zip", "--amp"], "--amp: cannot be combined with a bundle"),
        (["--bundle", "cars.zip", "--det-cat-id", "2"], "--det-cat-id must be 0 to 1, the detector's classes, got 2"),
        (
            ["--bundle", "cars.zip", "--skeleton", "coco17", "--det-cat-id", "0"],
            "predicts 3 keypoints, but skeleton coco17 has 17",
        ),
        (
            ["--bundle", "cars.zip", "--skeleton", "coco17"],
            "classes must have the skeleton's category 'person', got ['car', 'van'] "
            "fix: choose one with `posetools predict --det-cat-id N`",
        ),
        (["--bundle", "nowhere.zip"], "nowhere.zip"),
        (["--bundle", "photos/a.png"], "photos/a.png"),
        (["--bundle", "cars.zip", "--device", "tpu"], "tpu"),
        (
            ["--bundle", "cars.zip", "--format", "labelme", "--save-predictions", "--output-root", "o"],
            "cannot be combined with",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("predict", "photos", *arguments)
    assert done.status == 2
    assert message in done.words
    assert not (tmp_path / "o").exists()


def test_labelme_files_are_of_images(bundle: Path, tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", 2)
    done = run("predict", video, "--bundle", bundle, "--format", "labelme", "--output-root", tmp_path / "out")
    assert done.status == 2 and "--format labelme requires images, but clip.mp4 is a video" in done.err


def test_a_window_needs_a_screen(bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    done = run("predict", photos, "--bundle", bundle, "--show")
    assert done.status == 2 and "--show requires a screen" in done.err


def test_the_other_class_counts_when_asked_for(bundle: Path, photos: Path) -> None:
    first, second = (PosePipeline.from_bundle(bundle, PipelineOptions(det_cat_id=label)) for label in (0, 1))
    boxes = {name: pipeline(photos / "a.png").boxes.tolist() for name, pipeline in (("a", first), ("b", second))}
    assert boxes["a"] and boxes["a"] != boxes["b"]


def test_an_array_and_its_file_give_the_same(bundle: Path, photos: Path, tmp_path: Path) -> None:
    pipeline = PosePipeline.from_bundle(bundle)
    by_path, by_array = pipeline([photos / "a.png", read_image(photos / "a.png")])
    np.testing.assert_array_equal(by_path.keypoints, by_array.keypoints)
    assert (by_path.path, by_array.path) == (photos / "a.png", None)
    by_path.draw(tmp_path / "drawn.webp")
    with Image.open(tmp_path / "drawn.webp") as drawn:
        assert drawn.size == by_path.size
    with pytest.raises(RequestError, match="uint8"):
        pipeline(np.zeros((5, 5, 3)))  # type: ignore[arg-type]
