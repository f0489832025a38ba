"""Merging data sets: duplicates, renamed images, and refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from posetools.checks.validate import validate
from posetools.core.dataset import Dataset, concatenate
from posetools.core.skeleton import Skeleton, dump_skeleton, load_skeleton
from posetools.datasets.derived import read_set
from posetools.datasets.merge import MergeRequest, merge
from posetools.errors import InputError, OutputError, RequestError
from tests.build import make_dataset
from tests.converting import contents, write_source

CAR8 = load_skeleton("car8")


def _set(
    tmp_path: Path,
    name: str,
    train: Sequence[str],
    val: Sequence[str],
    *,
    seed: int = 0,
    skeleton: Skeleton = CAR8,
) -> tuple[Path, dict[str, Dataset]]:
    """Write a data set folder; return it and its contents."""
    names = [*train, *val]
    whole = make_dataset(tmp_path / f"pictures-{name}", images=names, seed=seed, skeleton=skeleton)
    splits = {}
    for split, mine in (("train", train), ("val", val)):
        part = whole.select_images(i for i, image in enumerate(whole.images) if image.file_name in mine)
        splits[split] = replace(part, images=tuple(replace(image, split=split) for image in part.images))
    return write_source(tmp_path / name, "coco", splits), splits


def _written(out: Path, skeleton: Skeleton = CAR8) -> dict[str, Dataset]:
    return dict(read_set(out, skeleton).splits)


def test_merge_keeps_splits_and_every_object(tmp_path: Path) -> None:
    a, in_a = _set(tmp_path, "a", ["1.jpg", "2.jpg"], ["x/3.jpg"])
    b, in_b = _set(tmp_path, "b", ["4.jpg"], ["5.jpg", "6.jpg"], seed=50)
    before = contents(a) | contents(b)
    out = tmp_path / "out"
    result = merge(MergeRequest(sources=(a, b), out=out))
    assert (result.renamed, result.doubles, result.ignored, result.findings) == ((), (), {}, ())
    written = _written(out)
    for split in ("train", "val"):
        assert written[split] == concatenate([in_a[split], in_b[split]])
    assert contents(a) | contents(b) == before
    # Ids are unique over both files, pycocotools opens them, and validate only reports small sets.
    loaded = [COCO(str(out / f"{split}_coco.json")) for split in ("train", "val")]
    assert sorted(i for each in loaded for i in each.imgs) == [1, 2, 3, 4, 5, 6]
    assert sorted(i for each in loaded for i in each.anns) == list(range(1, 13))
    assert validate(out).errors == 0
    record = json.loads((out / "conversion.json").read_text())
    assert record["source"] == {"format": "merge", "paths": [str(a), str(b)], "files": 4, "ignored": {}}
    assert record["splits"]["val"]["pictures"] == 3
    assert record["skeleton"]["name"] == "car8"
    # Merging again gives the same bytes.
    first = contents(out)
    merge(MergeRequest(sources=(a, b), out=out, overwrite=True))
    assert contents(out) == first


def test_one_name_for_two_images_gets_the_folders_name(tmp_path: Path) -> None:
    a, in_a = _set(tmp_path, "a", ["1.jpg", "own.jpg"], ["2.jpg"])
    b, in_b = _set(tmp_path, "b", ["2.jpg"], ["1.jpg"], seed=50)
    result = merge(MergeRequest(sources=(a, b), out=tmp_path / "out"))
    assert set(result.renamed) == {
        (str(a), "1.jpg", "a/1.jpg"),
        (str(a), "2.jpg", "a/2.jpg"),
        (str(b), "1.jpg", "b/1.jpg"),
        (str(b), "2.jpg", "b/2.jpg"),
    }
    written = _written(tmp_path / "out")
    assert [image.file_name for image in written["train"].images] == ["a/1.jpg", "b/2.jpg", "own.jpg"]
    assert (tmp_path / "out/images/b/1.jpg").read_bytes() == (b / "images/1.jpg").read_bytes()
    assert (written["train"].boxes[2:4] == in_b["train"].boxes).all()
    assert (written["val"].keypoints[:2] == in_a["val"].keypoints).all()
    record = json.loads((tmp_path / "out/conversion.json").read_text())
    assert {"source": str(a), "from": "1.jpg", "to": "a/1.jpg"} in record["renamed"]


def _copy_image(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _relabel(path: Path, **changes: Any) -> None:
    document = json.loads(path.read_text())
    document["annotations"][0] |= changes
    path.write_text(json.dumps(document))


def _shared(tmp_path: Path, *, train_of_b: list[str], val_of_b: list[str]) -> tuple[Path, Path]:
    """Write two data sets; b's "same.jpg" is a's "1.jpg" with the labels of that."""
    a, _ = _set(tmp_path, "a", ["1.jpg", "2.jpg"], ["3.jpg"])
    b, _ = _set(tmp_path, "b", train_of_b, val_of_b, seed=50)
    _copy_image(a / "images/1.jpg", b / "images/same.jpg")
    labels = json.loads((a / "train_coco.json").read_text())
    of_first = [entry for entry in labels["annotations"] if entry["image_id"] == labels["images"][0]["id"]]
    for split in ("train", "val"):
        path = b / f"{split}_coco.json"
        document = json.loads(path.read_text())
        ids = [image["id"] for image in document["images"] if image["file_name"] == "same.jpg"]
        if ids:
            kept = [entry for entry in document["annotations"] if entry["image_id"] != ids[0]]
            # In the other order: labels are compared as sets.
            moved = [{**entry, "image_id": ids[0], "id": 900 + i} for i, entry in enumerate(reversed(of_first))]
            path.write_text(json.dumps({**document, "annotations": [*kept, *moved]}))
    return a, b


def test_an_image_of_both_with_the_same_labels_is_kept_once(tmp_path: Path) -> None:
    a, b = _shared(tmp_path, train_of_b=["same.jpg", "9.jpg"], val_of_b=["8.jpg"])
    result = merge(MergeRequest(sources=(a, b), out=tmp_path / "out"))
    assert result.doubles == ((f"{b} (train): same.jpg", f"{a} (train): 1.jpg"),)
    names = [image.file_name for image in _written(tmp_path / "out")["train"].images]
    assert names == ["1.jpg", "2.jpg", "9.jpg"]
    record = json.loads((tmp_path / "out/conversion.json").read_text())
    assert record["left_out"] == [{"picture": f"{b} (train): same.jpg", "same_as": f"{a} (train): 1.jpg"}]


def test_an_image_of_both_with_other_labels_is_refused(tmp_path: Path) -> None:
    a, b = _shared(tmp_path, train_of_b=["same.jpg", "9.jpg"], val_of_b=["8.jpg"])
    document = json.loads((b / "train_coco.json").read_text())
    document["annotations"][-1]["keypoints"][-1] = 1 + document["annotations"][-1]["keypoints"][-1] % 2
    (b / "train_coco.json").write_text(json.dumps(document))
    with pytest.raises(RequestError) as caught:
        merge(MergeRequest(sources=(a, b), out=tmp_path / "out"))
    assert "the labels of one image must be the same, but those of 1 image differ" in str(caught.value)
    assert f"{a} (train): 1.jpg and {b} (train): same.jpg" in str(caught.value)
    assert "posetools diff" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("keep_in", ["train", "val"])
def test_an_image_in_train_and_val_is_refused_until_it_is_said_where_it_stays(tmp_path: Path, keep_in: str) -> None:
    a, b = _shared(tmp_path, train_of_b=["9.jpg"], val_of_b=["same.jpg", "8.jpg"])
    request = MergeRequest(sources=(a, b), out=tmp_path / "out")
    with pytest.raises(RequestError) as caught:
        merge(request)
    assert "an image must be in one split, but 1 image in two data sets are not" in str(caught.value)
    assert f"{a} (train): 1.jpg and {b} (val): same.jpg" in str(caught.value)
    assert "--keep-in val" in str(caught.value)
    assert not (tmp_path / "out").exists()
    merge(replace(request, keep_in=keep_in))
    names = {split: [image.file_name for image in each.images] for split, each in _written(tmp_path / "out").items()}
    assert ("1.jpg" in names["train"], "same.jpg" in names["val"]) == (keep_in == "train", keep_in == "val")
    assert sum(map(len, names.values())) == 5


def test_what_one_data_set_has_twice_is_left_alone(tmp_path: Path) -> None:
    a, _ = _set(tmp_path, "a", ["1.jpg", "2.jpg"], ["3.jpg"])
    b, _ = _set(tmp_path, "b", ["8.jpg"], ["9.jpg"], seed=50)
    _copy_image(a / "images/1.jpg", a / "images/2.jpg")
    assert merge(MergeRequest(sources=(a, b), out=tmp_path / "out")).doubles == ()
    assert len(_written(tmp_path / "out")["train"].images) == 3


def _other(tmp_path: Path) -> tuple[Path, dict[str, Dataset]]:
    """Write a data set of five points in another order, one renamed and one that car8 lacks."""
    names = ["right-rear-tire", "nose", "antenna", "left-rear-tire", "right-front-tire"]
    document = {"name": "other", "category": {"name": "car"}, "sigmas": [0.1] * 5, "joint_weights": [1.0] * 5}
    swaps = {"right-rear-tire": "left-rear-tire", "left-rear-tire": "right-rear-tire"}
    points = [{"name": name, "swap": swaps.get(name)} for name in names]
    skeleton = Skeleton.model_validate({**document, "keypoints": points})
    folder, splits = _set(tmp_path, "other", ["o1.jpg"], ["o2.jpg"], seed=70, skeleton=skeleton)
    (tmp_path / "other.yaml").write_text(dump_skeleton(skeleton))
    record = {"posetools": "0", "skeleton": skeleton.model_dump(mode="json")}
    (folder / "conversion.json").write_text(json.dumps(record))
    return folder, splits


def test_other_keypoints_are_mapped_by_name(tmp_path: Path) -> None:
    a, _ = _set(tmp_path, "a", ["1.jpg"], ["3.jpg"])
    other, in_other = _other(tmp_path)
    request = MergeRequest(sources=(a, other), out=tmp_path / "out")
    with pytest.raises(RequestError) as caught:
        merge(request)
    assert f"{other}: keypoints must be those of {a}, but it lacks left-front-bumper" in str(caught.value)
    assert "also has antenna, nose" in str(caught.value)
    assert "--skeleton" in str(caught.value)
    # With --skeleton, each name must still be known.
    named = replace(request, skeleton="car8", names={"nose": "left-front-bumper"})
    with pytest.raises(InputError, match=r"keypoints\[2\] must be a keypoint of skeleton car8, got 'antenna' \[E301\]"):
        merge(named)
    assert not (tmp_path / "out").exists()
    result = merge(replace(named, ignore=frozenset({"antenna"})))
    labeled = sum(int((each.visibility[:, 2] > 0).sum()) for each in in_other.values())
    assert result.ignored == {"antenna": labeled}
    written = _written(tmp_path / "out")["train"]
    ours, theirs = written.keypoints[2:], in_other["train"].keypoints
    for name, column in {"right-rear-tire": 0, "left-front-bumper": 1, "left-rear-tire": 3}.items():
        assert (ours[:, CAR8.index[name]] == theirs[:, column]).all()
    assert (ours[:, CAR8.index["left-rear-bumper"]] == 0).all()


def test_same_names_in_another_order_need_no_mapping(tmp_path: Path) -> None:
    a, in_a = _set(tmp_path, "a", ["1.jpg"], ["3.jpg"])
    document = CAR8.model_dump()
    document["keypoints"] = document["keypoints"][::-1]
    backwards = Skeleton.model_validate(document)
    b, in_b = _set(tmp_path, "b", ["4.jpg"], ["5.jpg"], seed=50, skeleton=backwards)
    (b / "conversion.json").write_text(json.dumps({"skeleton": backwards.model_dump(mode="json")}))
    merge(MergeRequest(sources=(a, b), out=tmp_path / "out"))
    written = _written(tmp_path / "out")["train"]
    assert (written.keypoints[:2] == in_a["train"].keypoints).all()
    assert (written.keypoints[2:] == in_b["train"].keypoints[:, ::-1]).all()


def test_other_sigmas_are_told_and_other_swaps_refused(tmp_path: Path) -> None:
    a, _ = _set(tmp_path, "a", ["1.jpg"], ["3.jpg"])
    b, _ = _set(tmp_path, "b", ["4.jpg"], ["5.jpg"], seed=50)
    document = CAR8.model_dump(mode="json") | {"sigmas": [0.07] * 8}
    (b / "conversion.json").write_text(json.dumps({"skeleton": document}))
    result = merge(MergeRequest(sources=(a, b), out=tmp_path / "out"))
    assert result.notes == (f"sigmas: taken from {a}; {b} has others",)
    for point in document["keypoints"]:
        point["swap"] = None
    (b / "conversion.json").write_text(json.dumps({"skeleton": document}))
    with pytest.raises(RequestError, match=r"swaps must be those of .*\(car8\), but they differ"):
        merge(MergeRequest(sources=(a, b), out=tmp_path / "out2"))


def test_refusals(tmp_path: Path) -> None:
    a, _ = _set(tmp_path, "a", ["1.jpg"], ["3.jpg"])
    b, _ = _set(tmp_path, "b", ["4.jpg"], ["5.jpg"], seed=50)
    out = tmp_path / "out"
    for request, part in (
        (MergeRequest(sources=(a,), out=out), "merge needs at least 2 data sets, got 1"),
        (MergeRequest(sources=(a, b, tmp_path / "b/../a"), out=out), "each data set must be given once"),
        (MergeRequest(sources=(a, b), out=a / "images/out"), "--out must be outside the source"),
        (MergeRequest(sources=(a, tmp_path / "no"), out=out), "no: must be a data set folder, but does not exist"),
        (MergeRequest(sources=(a, b), out=tmp_path / "pictures-a"), "exists and is not empty"),
        (MergeRequest(sources=(a, b), out=tmp_path / "pictures-a", overwrite=True), "conversion.json is missing"),
        (MergeRequest(sources=(a, b), out=out, keep_in="test"), "--keep-in must be one of train, val, got 'test'"),
        (MergeRequest(sources=(a, b), out=out, names={"x": "y"}), "--map must be label=NAME with a name of skeleton"),
    ):
        with pytest.raises(RequestError) as caught:
            merge(request)
        assert part in str(caught.value)
    assert not out.exists()


def test_broken_data_sets_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    a, _ = _set(tmp_path, "a", ["1.jpg"], ["3.jpg"])
    b, _ = _set(tmp_path, "b", ["4.jpg"], ["5.jpg"], seed=50)
    request = MergeRequest(sources=(a, b), out=tmp_path / "out")
    sound = (b / "train_coco.json").read_text()
    _relabel(b / "train_coco.json", keypoints=[1, 2, 2])
    with pytest.raises(InputError) as caught:
        merge(request)
    assert f"{b}/train_coco.json: annotations[0] (id 1): keypoints must be 3 numbers" in str(caught.value)
    assert f"`posetools validate {b}`" in str(caught.value)
    (b / "train_coco.json").write_text(sound)
    document = json.loads((b / "val_coco.json").read_text())
    document["images"][0]["file_name"] = "4.jpg"
    (b / "val_coco.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"file_name must be in one split only, got '4.jpg', which is also in train"):
        merge(request)
    document["images"][0]["file_name"] = "gone.jpg"
    (b / "val_coco.json").write_text(json.dumps(document))
    with pytest.raises((InputError, OutputError), match=r"gone\.jpg"):
        merge(request)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
