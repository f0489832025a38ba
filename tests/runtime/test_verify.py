"""``posetools verify``: a bundle reproduces its samples, and differences are detected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.core.categories import Categories
from posetools.runtime.bundle import Bundle, write_bundle
from posetools.runtime.manifest import Sample
from posetools.runtime.results import PoseResult
from posetools.runtime.verify import compare
from tests.cli.run import run
from tests.runtime import tiny


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("bundle") / "cars.zip")


def _rewritten(good: Path, path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Write the bundle again with the expected output of its first sample changed."""
    opened = Bundle.open(good)
    files = {network.file: opened.network(network) for network in opened.manifest.networks}
    files |= {sample.file: tiny.png(image) for sample, image in opened.sample_images()}
    first, *rest = opened.manifest.samples
    fields = first.model_dump(mode="json")
    change(fields)
    samples = (Sample.model_validate(fields), *rest)
    write_bundle(path, opened.manifest.model_copy(update={"samples": samples}), files)
    return path


def test_a_bundle_finds_what_it_found(good: Path) -> None:
    done = run("verify", good, "--device", "cpu")
    assert done.status == 0
    for part in (
        "made by",
        "tests",
        "float32",
        "dots: car, 3 keypoints",
        "96x64, detects car, van",
        "48x64",
        "bbox AP",
    ):
        assert part in done.words
    assert "0.500" in done.words
    assert "n/a" in done.words
    assert "samples/0.png" in done.words
    assert "ok: same results, within 0.5 px and 0.001 of each score." in done.words
    assert done.err == ""


def _shift_point(sample: dict[str, Any]) -> None:
    sample["keypoints"][0][1][0] += 0.75


def _shift_box(sample: dict[str, Any]) -> None:
    sample["boxes"][0][2] += 0.75


def _other_score(sample: dict[str, Any]) -> None:
    sample["scores"][0] -= 0.002


def _other_keypoint_score(sample: dict[str, Any]) -> None:
    sample["keypoint_scores"][1][2] += 0.002


def _one_less(sample: dict[str, Any]) -> None:
    for name in ("boxes", "scores", "keypoints", "keypoint_scores"):
        sample[name].pop()


def _one_more(sample: dict[str, Any]) -> None:
    for name in ("boxes", "scores", "keypoints", "keypoint_scores"):
        sample[name].append(sample[name][-1])


def _within(sample: dict[str, Any]) -> None:
    sample["keypoints"][0][1][0] += 0.4
    sample["boxes"][0][2] -= 0.4
    sample["scores"][0] -= 0.0009


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_shift_point, "samples/0.png: green of object 0 is off by 0.8 px"),
        (_shift_box, "0.7500 px"),
        (_other_score, "0.002000"),
        (_other_keypoint_score, "0.002000"),
        (_one_less, "4 of 3"),
        (_one_more, "4 of 5"),
    ],
)
def test_what_differs_is_told(good: Path, change: Callable[[dict[str, Any]], None], said: str, tmp_path: Path) -> None:
    done = run("verify", _rewritten(good, tmp_path / "other.zip", change))
    assert done.status == 1
    assert said in done.words
    assert "no: off by more than 0.5 px or 0.001, or another number of objects." in done.words


def test_what_is_within_the_limits_passes(good: Path, tmp_path: Path) -> None:
    assert run("verify", _rewritten(good, tmp_path / "near.zip", _within)).status == 0


def test_another_order_of_equally_sure_objects_is_the_same(good: Path, tmp_path: Path) -> None:
    def reverse(sample: dict[str, Any]) -> None:
        assert sample["scores"][0] == sample["scores"][1]
        for name in ("boxes", "scores", "keypoints", "keypoint_scores"):
            sample[name][:2] = sample[name][1::-1]

    assert run("verify", _rewritten(good, tmp_path / "order.zip", reverse)).status == 0


def test_other_networks_under_the_same_expectations_are_found_out(good: Path, tmp_path: Path) -> None:
    """The file's hash fits, so only running it shows that it is another network."""
    opened = Bundle.open(good)
    det = tiny.det_model().replace(np.float32(1 / 255).tobytes(), np.float32(1 / 250).tobytes())
    assert det != tiny.det_model()
    files = {"det.onnx": det, "pose.onnx": tiny.pose_model()}
    files |= {sample.file: tiny.png(image) for sample, image in opened.sample_images()}
    write_bundle(tmp_path / "cars.zip", opened.manifest.model_copy(update={"det": tiny.det_network(det)}), files)
    assert run("verify", tmp_path / "cars.zip").status == 1


def test_no_samples_prove_nothing(tmp_path: Path) -> None:
    done = run("verify", tiny.write(tmp_path / "cars.zip", seeds=()))
    assert done.status == 1
    assert "no: the bundle has no samples to compare." in done.words


def test_a_sample_without_objects_is_compared_as_well(tmp_path: Path) -> None:
    sample = Sample(file="samples/a.png", boxes=(), scores=(), keypoints=(), keypoint_scores=())
    manifest, files = tiny.parts((sample,))
    empty = np.zeros((50, 50, 3), dtype=np.uint8)
    write_bundle(tmp_path / "cars.zip", manifest, {**files, "samples/a.png": tiny.png(empty)})
    assert run("verify", tmp_path / "cars.zip").status == 0
    write_bundle(tmp_path / "cars.zip", manifest, {**files, "samples/a.png": tiny.png(tiny.image())})
    done = run("verify", tmp_path / "cars.zip")
    assert done.status == 1
    assert "4 of 0" in done.words


def test_what_cannot_be_opened_has_status_2(tmp_path: Path) -> None:
    done = run("verify", tmp_path / "cars.zip")
    assert done.status == 2
    assert done.err == f"error: {tmp_path / 'cars.zip'}: does not exist\n"
    (tmp_path / "cars.zip").write_bytes(b"PK")
    assert run("verify", tmp_path / "cars.zip").status == 2


def test_objects_are_paired_by_their_boxes_not_by_their_order() -> None:
    sample = Sample(
        file="a.png",
        boxes=((0, 0, 10, 10), (50, 50, 60, 60), (100, 0, 110, 10)),
        scores=(0.9, 0.8, 0.7),
        keypoints=tuple(((float(x), 5.0),) * 3 for x in (5, 55, 105)),
        keypoint_scores=((1.0,) * 3,) * 3,
    )
    order = [2, 0, 1]
    found = PoseResult(
        boxes=np.array(sample.boxes)[order],
        scores=np.array(sample.scores)[order],
        keypoints=np.array(sample.keypoints)[order],
        keypoint_scores=np.array(sample.keypoint_scores)[order],
        heatmaps=None,
        crops=np.zeros((3, 4)),
        categories=Categories.of(tiny.SKELETON),
        category_ids=np.ones(3, dtype=np.int64),
        image=tiny.image(),
    )
    check = compare(sample, found)
    assert (check.box_px, check.keypoint_px, check.score, check.keypoint_score) == (0, 0, 0, 0)
    assert check.ok
