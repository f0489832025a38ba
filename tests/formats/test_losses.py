"""The reported losses of a format are exactly the actual ones: written, read again, compared."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Visibility
from posetools.core.skeleton import load_skeleton
from posetools.formats import FORMATS
from posetools.formats.entry import DatasetPart
from posetools.formats.losses import TITLES, losses
from posetools.formats.options import ReadOptions
from tests.build import make_dataset
from tests.cli.run import run

WRITTEN = [name for name, each in FORMATS.items() if each.write is not None]
SIGMA = 0.0837
OF_DATA: tuple[DatasetPart, ...] = ("splits", "boxes", "occluded", "areas", "names")
SPLITS = ("train", "val", "test")


def needs(name: str) -> None:
    if name == "sleap" and importlib.util.find_spec("sleap_io") is None:
        pytest.skip("needs the extra sleap")


@pytest.fixture
def source(tmp_path: Path) -> dict[str, Dataset]:
    """Return three splits with everything a Dataset can hold but crowds; one image of each has no objects."""
    skeleton = load_skeleton("car8")
    points = [point.model_copy(update={"sigma": SIGMA}) for point in skeleton.keypoints]
    skeleton = skeleton.model_copy(update={"keypoints": tuple(points)})
    splits = {}
    for seed, split in enumerate(SPLITS):
        names = [f"{split}_{number}.jpg" for number in range(3)]
        whole = make_dataset(tmp_path / "from", skeleton=skeleton, images=names, seed=10 * seed)
        keypoints = whole.keypoints.copy()
        keypoints[:, :4, 2] = (1, 2, 2, 1)
        keep = np.flatnonzero(whole.image_index != 2)
        images = tuple(dataclasses.replace(image, split=split) for image in whole.images)
        splits[split] = Dataset(
            categories=Categories.of(skeleton),
            images=images,
            boxes=whole.boxes[keep],
            keypoints=keypoints[keep],
            areas=whole.areas[keep] * np.where(np.arange(len(keep)) % 2, 1.0, 0.5),
            iscrowd=whole.iscrowd[keep],
            image_index=whole.image_index[keep],
            category_ids=whole.category_ids[keep],
            origins=whole.origins.take(keep.tolist()),
        )
    return splits


def lost_parts(before: Dataset, after: Dataset) -> set[str]:
    """Return which parts of a Dataset changed in writing; both in the order of their images' names."""
    same_boxes = np.allclose(before.boxes, after.boxes, atol=1e-6)
    own = (after.boxes[:, 2:] - after.boxes[:, :2]).prod(axis=1)
    found = {
        "splits": [i.split for i in before.images] != [i.split for i in after.images],
        "names": [i.file_name for i in before.images] != [i.file_name for i in after.images],
        "boxes": not same_boxes,
        "occluded": not np.array_equal(before.visibility, after.visibility),
        "areas": not np.allclose(before.areas, after.areas) and np.allclose(after.areas, own),
    }
    return {part for part, differs in found.items() if differs}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_said_to_be_lost_is_lost_and_all_else_is_read_again(
    tmp_path: Path, source: dict[str, Dataset], name: str
) -> None:
    needs(name)
    target = FORMATS[name]
    assert target.write is not None
    out = tmp_path / "out"
    out.mkdir()
    target.write(source, out, "copy")
    options = ReadOptions(assume_visible=True, box_from="keypoints")
    read = target.read([out], source["train"].skeleton, options)
    assert not [finding for finding in read.findings if finding.code.startswith("E")], read.findings
    after = read.dataset
    # By name: DeepLabCut's folders do not change the order.
    before = _joined(source)
    assert len(after.images) == len(before.images) and after.counts.tolist() == before.counts.tolist()
    labeled = before.visibility != Visibility.NOT_LABELED
    assert np.array_equal(after.visibility != Visibility.NOT_LABELED, labeled)
    assert np.allclose(after.keypoints[labeled][:, :2], before.keypoints[labeled][:, :2], atol=1e-6)
    assert lost_parts(before, after) == target.lacks & set(OF_DATA)


def _joined(splits: dict[str, Dataset]) -> Dataset:
    from posetools.core.dataset import concatenate

    whole = concatenate(list(splits.values()))
    order = sorted(range(len(whole.images)), key=lambda index: whole.images[index].file_name)
    return whole.select_images(order)


@pytest.mark.parametrize("name", WRITTEN)
def test_counts_are_those_of_the_data(source: dict[str, Dataset], name: str) -> None:
    counts = {part: number for loss in losses(FORMATS[name], source) for part, number in loss.counts.items()}
    occluded = sum(int((each.visibility == Visibility.HIDDEN).sum()) for each in source.values())
    everything = {"splits": 9, "boxes": 12, "occluded": occluded, "areas": 6, "names": 9}
    everything |= {"links": 4, "pairs": 4, "sigmas": 8}
    assert counts == {part: everything[part] for part in TITLES if part in FORMATS[name].lacks}


@pytest.mark.parametrize("name", WRITTEN)
def test_parts_of_the_skeleton_that_are_said_to_be_lost_are_in_no_file_of_the_format(
    tmp_path: Path, source: dict[str, Dataset], name: str
) -> None:
    needs(name)
    target = FORMATS[name]
    assert target.write is not None
    target.write(source, tmp_path, "copy")
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".json", ".xml", ".yaml", ".txt", ".csv")]
    text = "\n".join(path.read_text() for path in files if "from" not in path.parts)
    assert str(SIGMA) not in text
    if name == "sleap":
        import sleap_io

        skeleton = sleap_io.load_slp(str(tmp_path / "labels.slp"), open_videos=False).skeletons[0]
        assert len(skeleton.edges) == 4 and not skeleton.symmetries
        return
    if name == "coco":
        return
    for part, sign in (("links", 'data-type="edge"'), ("pairs", "flip_idx")):
        # Escaped in CVAT's XML.
        assert (sign in text.replace("&quot;", '"')) is not (part in target.lacks), part


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        (
            "labelme",
            ["labelme has no splits: lost for 9 images (test 3, train 3, val 3)", "labelme has no area: 6"],
        ),
        ("via", ["VIA has no splits: lost for 9 images (test 3, train 3, val 3)"]),
        ("yolo-pose", ["YOLO-pose has no area: 6 other than width x height lost"]),
        ("deeplabcut", ["DeepLabCut has no boxes: 12 lost", "DeepLabCut has no occluded keypoints: "]),
        ("sleap", ["SLEAP has no boxes: 12 lost", "SLEAP has no occluded keypoints: "]),
        ("coco", []),
    ],
)
def test_convert_says_what_is_lost_and_writes_it_down(
    tmp_path: Path, source: dict[str, Dataset], target: str, lines: list[str]
) -> None:
    needs(target)
    coco, out = tmp_path / "coco", tmp_path / "out"
    coco.mkdir()
    write = FORMATS["coco"].write
    assert write is not None
    write(source, coco, "copy")
    done = run("convert", coco, "--to", target, "--out", out)
    assert done.status == 0, done.err
    for line in lines:
        assert done.out.count(line) == 1, done.out
    title = FORMATS[target].title
    assert bool(lines) == (f"{title} has no" in done.out)
    recorded = json.loads((out / "conversion.json").read_text())["lost"]
    wanted = {part: n for loss in losses(FORMATS[target], source) for part, n in loss.counts.items()}
    assert recorded == wanted


def test_what_is_not_there_is_not_said_to_be_lost(tmp_path: Path) -> None:
    whole = make_dataset(tmp_path)
    said = {part for loss in losses(FORMATS["labelme"], {"all": whole}) for part in loss.counts}
    assert said == {"links", "pairs", "sigmas"}
