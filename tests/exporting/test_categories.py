"""A run of two categories, each with a skeleton of its own: its bundle, its predictions, and its published files."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from pycocotools.coco import COCO

import posetools
from posetools.core.categories import Categories
from posetools.core.skeleton import Skeleton
from posetools.core.stages import stage_of
from posetools.errors import RequestError
from posetools.exporting.publish import publish
from posetools.files.disk import read_json
from posetools.imaging.frames import open_sources, read_image
from posetools.imaging.header import Pixels
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.configs import config_of_run
from posetools.mm.inference import Detector
from posetools.mm.run_folder import last_in
from posetools.pairs.open import PipelineOptions
from posetools.pairs.pipeline import PosePipeline
from posetools.prediction.predict import PredictRequest, predict
from posetools.prediction.read import image_ids_of, read_predictions
from posetools.recipes.emit import emit_pair
from posetools.runtime.bundle import Bundle, write_bundle
from posetools.runtime.manifest import CategoriesManifest
from posetools.runtime.networks import crops_of
from posetools.training.request import TrainRequest
from posetools.training.train import train
from tests.cli.run import run
from tests.tiny_runs import tiny_options
from tests.two_kinds import CRITTER, KINDS, two_kinds

pytestmark = pytest.mark.train

THR = 0.2
ALL = PipelineOptions(device="cpu", bbox_thr=THR)


@dataclass(frozen=True)
class KindsRun:
    """A data set of two categories, the folder of its runs, and their bundle."""

    data: Path
    work: Path
    bundle: Path
    said: str

    @property
    def images(self) -> list[Path]:
        return sorted((self.data / "images").iterdir())


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> KindsRun:
    root = tmp_path_factory.mktemp("kinds")
    data, work, bundle = root / "set", root / "work", root / "kinds.zip"
    whole = two_kinds(root / "raw", images=6, seed=3)
    posetools.write({"train": whole.select_images(range(3)), "val": whole.select_images(range(3, 6))}, data)
    for model, config in emit_pair(data, options=tiny_options(), out=root / "configs").configs.items():
        train(TrainRequest(stage=stage_of(model), config=config, work_dir=work / model, device="cpu"))
    _make_certain(work / "det", [read_image(path) for path in (data / "images").iterdir()])
    done = run("export", "--run", work, "--out", bundle, "--data", data, "--bbox-thr", str(THR))
    assert done.status == 0, done.err
    return KindsRun(data, work, bundle, done.words)


def _make_certain(work_dir: Path, images: list[Pixels]) -> None:
    """Change the weights of a detector that detects nothing after two epochs: larger boxes, and scores of all classes.

    Its scores differ in the seventh digit before; then, each class has large and small scores at each level.
    """
    import torch

    (config,), checkpoints = work_dir.glob("*.py"), sorted(work_dir.glob("*.pth"))
    weights = load_checkpoint(checkpoints[0])
    for level in range(3):
        weights["state_dict"][f"bbox_head.rtm_reg.{level}.bias"] += 1.5
        weights["state_dict"][f"bbox_head.rtm_cls.{level}.weight"] *= 3e4
    for checkpoint in checkpoints:
        torch.save({"state_dict": weights["state_dict"], "meta": weights["meta"]}, checkpoint)
    detector = Detector(config, checkpoints[0], "cpu")
    for level, layer in enumerate(detector.model.bbox_head.rtm_cls):
        seen: list[torch.Tensor] = []
        layer.register_forward_hook(lambda _layer, _inputs, scores, seen=seen: seen.append(scores))
        detector(images)
        weights["state_dict"][f"bbox_head.rtm_cls.{level}.bias"] -= seen[0].mean(dim=(0, 2, 3)) + 2
    for checkpoint in checkpoints:
        torch.save({"state_dict": weights["state_dict"], "meta": weights["meta"]}, checkpoint)


def test_the_bundle_has_a_network_for_each_skeleton(kinds: KindsRun) -> None:
    with zipfile.ZipFile(kinds.bundle) as archive:
        document = json.loads(archive.read("bundle.json"))
        assert {"bundle.json", "det.onnx", "pose-car8.onnx", "pose-critter.onnx"} <= set(archive.namelist())
    assert document["posetools_bundle"] == 2
    assert [one["category"]["name"] for one in document["skeletons"]] == ["car", "critter"]
    assert [one["categories"] for one in document["poses"]] == [["car"], ["critter"]]
    assert document["det"]["classes"] == ["car", "critter"]
    assert {"car/bbox/AP", "critter/bbox/AP", "critter/labelled_boxes/OKS/AP"} <= set(document["metrics"])
    assert {name for sample in document["samples"] for name in sample["categories"]} == {"car", "critter"}
    assert "car8, 8 keypoints of car, critter, 8 keypoints of critter" in kinds.said
    assert "critter: OKS AP, labeled boxes" in kinds.said


def test_the_bundle_predicts_what_the_run_predicts(kinds: KindsRun) -> None:
    ours = PosePipeline.from_run(kinds.work, ALL)(kinds.images)
    theirs = PosePipeline.from_bundle(kinds.bundle, ALL)(kinds.images)
    assert {name for one in ours for name in one.category_names} == {"car", "critter"}
    for one, other in zip(ours, theirs, strict=True):
        assert one.category_names == other.category_names
        np.testing.assert_allclose(one.boxes, other.boxes, atol=0.01)
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=0.01)
        np.testing.assert_allclose(one.keypoint_scores, other.keypoint_scores, atol=1e-4)


def test_keypoints_are_those_of_the_own_estimator_alone(kinds: KindsRun) -> None:
    pipeline = PosePipeline.from_bundle(kinds.bundle, ALL)
    compared = 0
    for image, result in zip(map(read_image, kinds.images), pipeline(kinds.images), strict=True):
        for estimator, (number, skeleton) in zip(pipeline.estimators, KINDS.items(), strict=True):
            own = result.category_ids == number
            alone = estimator.estimate([image], [result.boxes[own]])[0]
            columns = KINDS.columns[number]
            np.testing.assert_allclose(result.keypoints[own][:, columns], alone.keypoints, atol=1e-6)
            others = np.setdiff1d(np.arange(KINDS.num_keypoints), columns)
            assert np.isnan(result.keypoints[own][:, others]).all()
            assert not result.keypoint_scores[own][:, others].any()
            assert columns.size == skeleton.num_keypoints
            compared += int(own.sum())
    assert compared > 2


def test_onnxruntime_opens_the_network_of_a_skeleton(kinds: KindsRun) -> None:
    pipeline = PosePipeline.from_bundle(kinds.bundle, ALL)
    result = next(one for one in pipeline(kinds.images) if "critter" in one.category_names)
    own = result.of_categories(Categories((CRITTER,)))
    with zipfile.ZipFile(kinds.bundle) as archive:
        session = onnxruntime.InferenceSession(archive.read("pose-critter.onnx"), providers=["CPUExecutionProvider"])
        network = json.loads(archive.read("bundle.json"))["poses"][1]
    crops = crops_of(own.boxes, pipeline.estimators[1].network)  # type: ignore[attr-defined]
    inputs = pipeline.estimators[1].preprocess([result.image], [0] * len(own), crops)  # type: ignore[attr-defined]
    x, y = session.run(["simcc_x", "simcc_y"], {"input": inputs})
    bins = np.stack([x.argmax(axis=2), y.argmax(axis=2)], axis=2)
    points = bins / network["split_ratio"] / network["input_size"] * own.crops[:, None, 2:]
    points += own.crops[:, None, :2] - own.crops[:, None, 2:] / 2
    np.testing.assert_allclose(points, own.keypoints, atol=0.01)
    np.testing.assert_allclose(np.minimum(x.max(axis=2), y.max(axis=2)), own.keypoint_scores, atol=1e-5)


def test_verify_compares_the_category_of_each_object(kinds: KindsRun, tmp_path: Path) -> None:
    done = run("verify", kinds.bundle, "--device", "cpu")
    assert done.status == 0, done.words
    assert "critter: critter, 8 keypoints" in done.words
    opened = Bundle.open(kinds.bundle)
    assert isinstance(opened.manifest, CategoriesManifest)
    sample = next(each for each in opened.manifest.samples if each.boxes)
    swapped = tuple("car" if name == "critter" else "critter" for name in sample.categories)
    changed = opened.manifest.model_copy(
        update={
            "samples": tuple(
                each.model_copy(update={"categories": swapped}) if each is sample else each
                for each in opened.manifest.samples
            )
        }
    )
    with zipfile.ZipFile(kinds.bundle) as archive:
        files = {name: archive.read(name) for name in opened.manifest.members[1:]}
    write_bundle(tmp_path / "changed.zip", changed, files)
    assert run("verify", tmp_path / "changed.zip", "--device", "cpu").status == 1


def test_prediction_files_name_the_category_of_each_object(kinds: KindsRun, tmp_path: Path) -> None:
    done = run(
        "predict", kinds.data / "images", "--bundle", kinds.bundle, "--save-predictions", "--output-root", tmp_path
    )
    assert done.status == 0, done.err
    document = read_json(tmp_path / "predictions.json")
    names = {one["category"]: set(one["keypoints"]) for image in document["pictures"] for one in image["instances"]}
    assert names == {one.category.name: set(one.names) for one in KINDS.skeletons}
    labels = kinds.data / "val_coco.json"
    truth = COCO(str(labels))
    results = truth.loadRes(str(tmp_path / "results_val_coco.json"))
    assert set(results.getCatIds()) == set(KINDS)
    both = [
        read_predictions(tmp_path / name, KINDS, image_ids_of(labels))
        for name in ("predictions.json", "results_val_coco.json")
    ]
    for name, found in both[1].items():
        assert found.category_ids is not None
        assert found.category_ids.tolist() == both[0][name].category_ids.tolist()  # type: ignore[union-attr]
        np.testing.assert_allclose(found.keypoints, both[0][name].keypoints, atol=0.01)


@pytest.mark.parametrize("chosen", ["critter", "1"])
def test_one_category_is_chosen_by_name_or_by_index(kinds: KindsRun, tmp_path: Path, chosen: str) -> None:
    folder = kinds.data / "images"
    done = run(
        "predict",
        folder,
        "--bundle",
        kinds.bundle,
        "--det-cat-id",
        chosen,
        "--save-predictions",
        "--output-root",
        tmp_path,
    )
    assert done.status == 0, done.err
    document = read_json(tmp_path / "predictions.json")
    assert document["category"] == "critter"
    pipeline = PosePipeline.from_bundle(kinds.bundle, ALL)
    number = sum(result.category_names.count("critter") for result in pipeline(kinds.images))
    assert sum(len(image["instances"]) for image in document["pictures"]) == number > 0


def test_a_class_that_the_detector_does_not_have_is_refused(kinds: KindsRun) -> None:
    done = run("predict", kinds.data / "images", "--bundle", kinds.bundle, "--det-cat-id", "cat")
    assert done.status == 2
    assert "--det-cat-id must be a class of the detector, car, critter, got 'cat'" in done.words


def test_the_bundle_is_evaluated_by_category(kinds: KindsRun, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    done = run("eval", "--bundle", kinds.bundle, "--data", kinds.data, "--device", "cpu", "--json", path)
    assert done.status == 0, done.err
    found, stored = read_json(path)["categories"], Bundle.open(kinds.bundle).manifest.metrics
    for name in ("car", "critter"):
        assert found[name]["det"]["bbox"]["AP"] == pytest.approx(stored[f"{name}/bbox/AP"])
        assert found[name]["labelled_boxes"]["OKS"]["AR50"] == pytest.approx(stored[f"{name}/labelled_boxes/OKS/AR50"])


def test_a_smaller_bundle_is_of_all_networks(kinds: KindsRun, tmp_path: Path) -> None:
    done = run("export", "--run", kinds.work, "--out", tmp_path / "small.zip", "--int8", "--bbox-thr", str(THR))
    assert done.status == 0, done.err
    with zipfile.ZipFile(kinds.bundle) as plain, zipfile.ZipFile(tmp_path / "small.zip") as small:
        for name in ("det.onnx", "pose-car8.onnx", "pose-critter.onnx"):
            assert small.getinfo(name).file_size < 0.5 * plain.getinfo(name).file_size
    assert run("verify", tmp_path / "small.zip", "--device", "cpu").status == 0


def test_a_category_without_keypoints_has_boxes_only(kinds: KindsRun, tmp_path: Path) -> None:
    own = PosePipeline.from_bundle(kinds.bundle, ALL)
    only_boxes = Skeleton.model_validate({"name": "car", "category": {"name": "car", "id": 1}, "keypoints": []})
    categories = Categories((only_boxes, CRITTER))
    pipeline = PosePipeline(own.detector, own.estimators[1], categories, bbox_thr=THR)
    request = PredictRequest(output_root=tmp_path, save_predictions=True)
    predict(request, open_sources([str(kinds.data / "images")]), pipeline)
    document = read_json(tmp_path / "predictions.json")
    for image, whole in zip(document["pictures"], own(kinds.images), strict=True):
        assert [one["category"] for one in image["instances"]] == list(whole.category_names)
        for one, points in zip(image["instances"], whole.keypoints, strict=True):
            of_critter = points[KINDS.columns[2]].round(2).tolist() if one["category"] == "critter" else []
            assert list(one["keypoints"].values()) == of_critter
    read = read_predictions(tmp_path / "predictions.json", categories)
    assert {number for one in read.values() for number in np.asarray(one.category_ids)} == {1, 2}
    assert sum(each["keypoints"] == [] for each in read_json(tmp_path / "results_coco.json")) > 0


def test_published_checkpoints_open_again_as_a_pair(kinds: KindsRun, tmp_path: Path) -> None:
    named = []
    for model in ("det", "pose-car8", "pose-critter"):
        checkpoint = last_in(kinds.work / model)
        assert checkpoint is not None
        # The config moves with it, without the run's other files.
        config = Path(shutil.copy(config_of_run(kinds.work / model), tmp_path))
        named.append((config, publish(checkpoint, tmp_path / f"{model}.pth").path))
    pipeline = PosePipeline.from_configs(named[0], named[1:], ALL)
    assert pipeline.categories == KINDS
    assert {name for result in pipeline(kinds.images) for name in result.category_names} == {"car", "critter"}
    with pytest.raises(RequestError, match="must have pose estimators of car and critter, in this order"):
        PosePipeline.from_configs(named[0], named[:0:-1], ALL)
    alone = PosePipeline.from_configs(named[0], named[2], ALL)
    assert alone.skeleton.names == CRITTER.names
