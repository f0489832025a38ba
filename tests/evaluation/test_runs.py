"""Evaluation of trained checkpoints: the metrics of the stock test loop, the table, the JSON, the errors."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from posetools.core.dataset import Dataset, DatasetBuilder
from posetools.core.folder import IMAGES, ann_file
from posetools.core.geometry import Floats
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError, PosetoolsError, RequestError
from posetools.evaluation.report import Report
from posetools.evaluation.run import EvalRequest, evaluate
from posetools.exporting.export import ExportRequest, export
from posetools.formats.coco.format import read_split, write_split
from posetools.imaging.header import Pixels
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.configs import load_config
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.run_folder import best_in
from posetools.pairs.find import pair_of_run
from posetools.pairs.open import PipelineOptions
from posetools.pairs.pipeline import PosePipeline
from tests.cli.run import run
from tests.tiny_runs import Run, Tiny

pytestmark = pytest.mark.train

Label = Callable[[Pixels, Floats], list[tuple[Floats, Floats]]]


def stock_metrics(config: Path, checkpoint: Path, data: Path, work_dir: Path, **more: object) -> dict[str, float]:
    """Return the metrics of Runner.test(), as in the stock tools/test.py, on the val split of ``data``."""
    from mmengine.runner import Runner

    settings = load_config(config)
    settings.merge_from_dict(
        {
            "work_dir": str(work_dir),
            "load_from": str(checkpoint),
            "test_dataloader.dataset.data_root": str(data),
            "test_evaluator.ann_file": str(ann_file(data, "val")),
            **more,
        }
    )
    metrics: dict[str, float] = Runner.from_cfg(settings).test()
    return metrics


def relabelled(tiny: Tiny, target: Path, label: Label) -> Dataset:
    """Write a copy of the val split whose objects are (box, keypoints) that ``label`` gives for an image."""
    import mmcv

    old = read_split(ann_file(tiny.data, "val"), tiny.data / IMAGES, load_skeleton("car8")).dataset
    builder = DatasetBuilder(old.skeleton)
    for image, rows in zip(old.images, old.rows_of_images(), strict=True):
        builder.add_image(image)
        for box, keypoints in label(mmcv.imread(image.path), old.boxes[list(rows)]):
            builder.add_instance(image.file_name, box=box, keypoints=keypoints, origin=Origin(""))
    shutil.copytree(tiny.data / IMAGES, target / IMAGES)
    write_split(builder.build(), ann_file(target, "val"))
    return builder.build()


def test_box_ap_is_that_of_the_stock_loop(tiny: Tiny, det_run: Run, tmp_path: Path) -> None:
    import torch

    # A detector trained for a few iterations detects nothing; with this bias each location predicts a box.
    weights = load_checkpoint(det_run.checkpoint)
    for level in range(3):
        weights["state_dict"][f"bbox_head.rtm_reg.{level}.bias"] += 1.5
    checkpoint = tmp_path / "biased.pth"
    torch.save({"state_dict": weights["state_dict"], "meta": weights["meta"]}, checkpoint)
    rng = np.random.default_rng(3)

    def label(image: Pixels, _: Floats) -> list[tuple[Floats, Floats]]:
        found = Detector(det_run.config, checkpoint)([image])[0]
        boxes = np.clip(found.boxes[:12:2] + rng.normal(0, 1.5, (6, 4)), 0, [96, 80, 96, 80])
        return [(box, np.zeros((8, 3))) for box in boxes if (box[2:] - box[:2]).min() > 3]

    data = tmp_path / "data"
    relabelled(tiny, data, label)
    ours = evaluate(EvalRequest(checkpoint=checkpoint, config=det_run.config, data=data, device="cpu")).det.scores
    stock = stock_metrics(det_run.config, checkpoint, data, tmp_path / "stock")
    assert ours.ap is not None
    assert 0.05 < ours.ap < 0.95
    pairs = {"mAP": ours.ap, "mAP_50": ours.ap50, "mAP_75": ours.ap75, "mAP_s": ours.ap_small, "mAP_m": ours.ap_medium}
    for name, value in pairs.items():
        assert (-1 if value is None else value) == pytest.approx(stock[f"coco/bbox_{name}"], abs=1e-3)
    assert (ours.ap_large, stock["coco/bbox_mAP_l"]) == (None, -1)


@pytest.mark.parametrize("flips", [False, True])
def test_pose_ap_is_that_of_the_stock_loop(tiny: Tiny, pose_run: Run, tmp_path: Path, flips: bool) -> None:
    import torch

    rng = np.random.default_rng(3)
    # Keypoints of a model trained for a few iterations all score far below 0.2, so their objects score 0. Scaled up,
    # about half of them pass.
    image = rng.integers(0, 255, (80, 96, 3), dtype=np.uint8)
    quiet = PoseEstimator(pose_run.config, pose_run.checkpoint, flip_test=flips)
    scores = quiet.estimate([image], [np.array([[10.0, 10, 60, 60]])])[0].scores
    weights, checkpoint = load_checkpoint(pose_run.checkpoint), tmp_path / "loud.pth"
    for axis in "xy":
        weights["state_dict"][f"head.cls_{axis}.weight"] *= 0.2 / float(np.median(scores))
    torch.save({"state_dict": weights["state_dict"], "meta": weights["meta"]}, checkpoint)
    estimator = PoseEstimator(pose_run.config, checkpoint, flip_test=flips)
    seen: list[float] = []

    def label(image: Pixels, boxes: Floats) -> list[tuple[Floats, Floats]]:
        poses = estimator.estimate([image], [boxes])[0]
        seen.extend(poses.scores.ravel().tolist())
        points = poses.keypoints
        scale = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))[:, None, None]
        moved = np.clip(points + rng.normal(0, 0.06, points.shape) * scale, 0.5, 95)
        visibility = rng.integers(0, 3, (*points.shape[:2], 1))
        return list(zip(boxes, np.concatenate([moved, visibility], axis=2), strict=True))

    data = tmp_path / "data"
    relabelled(tiny, data, label)
    assert min(seen) < 0.2 < max(seen)
    request = EvalRequest(
        stage="pose", checkpoint=checkpoint, config=pose_run.config, data=data, device="cpu", flip_test=True
    )
    report = evaluate(request)
    assert report.flipped is not None
    ours, other = report.labeled.scores.oks, report.flipped[0].scores.oks
    if flips:
        ours, other = other, ours
    # An emitted config has no flip test, so training logs the same AP.
    more = {"model.test_cfg.flip_test": True} if flips else {}
    stock = stock_metrics(pose_run.config, checkpoint, data, tmp_path / "stock", **more)
    assert ours.ap is not None
    assert 0.05 < ours.ap < 0.95
    assert other.ap != ours.ap
    names = {"AP": ours.ap, "AP .5": ours.ap50, "AP .75": ours.ap75, "AP (M)": ours.ap_medium, "AR": ours.ar}
    for name, value in names.items():
        assert value == pytest.approx(stock[f"coco/{name}"], abs=1e-3)
    assert (ours.ap_large, stock["coco/AP (L)"]) == (None, -1)


def test_the_table_and_the_json_show_both_kinds_of_boxes(det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    file = tmp_path / "pose.json"
    places: list[str | Path] = [pose_run.checkpoint, "--boxes", det_run.checkpoint, "--json", file]
    done = run("eval", "--stage", "pose", *places, "--bbox-thr", "0", "--device", "cpu")
    assert done.status == 0, done.err
    document = json.loads(file.read_text())
    assert (document["stage"], document["split"], document["images"], document["objects"]) == ("pose", "val", 2, 4)
    assert document["detector"] == str(det_run.checkpoint)
    for side in ("labelled_boxes", "detected_boxes"):
        assert document[side]["OKS"]["APl"] is None
        points = document[side]["points"]
        visible, hidden = (points[subset]["overall"]["points"] for subset in ("visible", "hidden"))
        assert points["labelled"]["overall"]["points"] == visible + hidden
        assert list(points["labelled"]["by_keypoint"]) == list(load_skeleton("car8").names)
    assert document["labelled_boxes"]["without_box"] == 0
    lost = document["detected_boxes"]["without_box"]
    assert (lost > 0) == (document["detected_boxes"]["points"]["labelled"]["overall"]["missing"] > 0)
    lines = done.out.splitlines()
    assert any("labeled boxes" in line and "detected boxes" in line for line in lines)
    large = next(line for line in lines if "OKS APl" in line)
    assert large.count("n/a") == 2
    assert not re.search(r"[ /]-1", done.out)
    assert any(line.strip().startswith("right-rear-tire") for line in lines)


def test_a_detector_is_evaluated_beside_its_config(det_run: Run, tmp_path: Path) -> None:
    file = tmp_path / "det.json"
    done = run("test", "--stage", "det", det_run.checkpoint, "--json", file)
    assert done.status == 0, done.err
    document = json.loads(file.read_text())
    assert document["config"] == str(det_run.work_dir / det_run.config.name)
    assert document["bbox"]["APl"] is None
    assert 0.0 <= document["bbox"]["AP"] <= 1.0
    assert "n/a" in done.out


@pytest.fixture(scope="session")
def pair_dir(det_run: Run, pose_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both runs; the detector's boxes have a size, the keypoint scores are high enough."""
    import torch

    folder = tmp_path_factory.mktemp("pair")
    for run_, name in ((det_run, "det"), (pose_run, "pose")):
        shutil.copytree(run_.work_dir, folder / name)
        best = best_in(folder / name) or folder / name / "epoch_2.pth"
        weights = load_checkpoint(best)
        for level in range(3) if name == "det" else ():
            weights["state_dict"][f"bbox_head.rtm_reg.{level}.bias"] += 1.5
            weights["state_dict"][f"bbox_head.rtm_cls.{level}.weight"] *= 3e4
        for axis in "xy" if name == "pose" else "":
            weights["state_dict"][f"head.cls_{axis}.weight"] *= 30
        torch.save({"state_dict": weights["state_dict"], "meta": weights["meta"]}, best)
    return folder


@pytest.fixture(scope="session")
def whole(pair_dir: Path) -> Report:
    return evaluate(EvalRequest(run=pair_dir, device="cpu"))


def numbers_of(document: Any) -> Iterator[float | None]:
    """Yield all numbers of a JSON document in its order."""
    if isinstance(document, dict):
        for value in document.values():
            yield from numbers_of(value)
    elif document is None or isinstance(document, int | float):
        yield document


def test_the_whole_pair_has_the_numbers_of_its_models_alone(whole: Report, pair_dir: Path) -> None:
    pair = pair_of_run(pair_dir)
    det, pose = Path(pair.det.checkpoint), Path(pair.pose.checkpoint)
    alone = evaluate(EvalRequest(checkpoint=det, device="cpu"))
    assert len(whole.det.predicted)
    assert whole.det.scores.as_dict() == alone.det.scores.as_dict()
    poses = evaluate(EvalRequest(stage="pose", checkpoint=pose, boxes=det, device="cpu"))
    assert list(poses.sides) == ["labeled boxes", "detected boxes"]
    assert len(whole.detected.predicted) > 0
    for ours, theirs in ((whole.labeled, poses.labeled), (whole.detected, poses.detected)):
        pairs = zip(numbers_of(ours.scores.as_dict()), numbers_of(theirs.scores.as_dict()), strict=True)
        assert all(a == pytest.approx(b, abs=1e-6) for a, b in pairs)
    assert any("were trained on" in sentence for sentence in whole.sentences) is False


def test_evaluating_on_what_it_was_trained_on_is_said(pair_dir: Path) -> None:
    report = evaluate(EvalRequest(run=pair_dir, device="cpu", split="train"))
    assert any("4 of 4 images were used for training" in sentence for sentence in report.sentences)


def test_a_run_is_one_command(pair_dir: Path, whole: Report, tmp_path: Path) -> None:
    places: list[str | Path] = ["--json", tmp_path / "eval.json", "--report", tmp_path / "eval.html"]
    done = run("eval", "--run", pair_dir, "--device", "cpu", *places)
    assert done.status == 0, done.err
    assert f"wrote {tmp_path / 'eval.html'}" in done.out
    assert "why AP of poses is lost" in done.out
    assert "why AP of boxes is lost" in done.out
    assert any(line.strip().startswith("right-rear-tire") for line in done.out.splitlines())
    document = json.loads((tmp_path / "eval.json").read_text())
    assert document["name"] == str(pair_dir)
    assert document["det"]["bbox"] == whole.det.scores.as_dict()
    assert str(pair_dir) in (tmp_path / "eval.html").read_text()


def test_what_eval_measures_is_what_predict_gives(pair_dir: Path, whole: Report) -> None:
    pipeline = PosePipeline.from_run(pair_dir, PipelineOptions(device="cpu", bbox_thr=0.05, nms_thr=1.0))
    for number, image in enumerate(whole.truth.images):
        assert image.path is not None
        result = pipeline(image.path)
        every = whole.detected.poses.every
        rows = np.flatnonzero(every.image_index == number)
        assert len(result) == len(rows) > 0
        # predict folds batch norms into convolutions: almost equal scores may change order.
        off = np.abs(every.boxes[rows][:, None] - result.boxes).max(axis=2)
        same = rows[off.argmin(axis=0)]
        assert off.min(axis=0).max() < 0.05
        assert np.median(np.abs(every.keypoints[same] - result.keypoints)) < 1e-3


def test_a_config_with_a_flip_test_is_measured_without_and_that_is_said(
    pair_dir: Path, whole: Report, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(pair_dir, old)
    (config,) = (old / "pose").glob("*.py")
    text = config.read_text()
    assert text.count("flip_test=False") == 1
    config.write_text(text.replace("flip_test=False", "flip_test=True"))
    page, file = tmp_path / "eval.html", tmp_path / "eval.json"
    done = run("eval", "--run", old, "--device", "cpu", "--flip-test", "--report", page, "--json", file)
    assert done.status == 0, done.err
    assert "poses, labeled boxes: the config mirrors every crop when training evaluates (flip_test=True)" in done.words
    document = json.loads(file.read_text())
    assert document["labelled_boxes"]["OKS"] == whole.labeled.scores.oks.as_dict()
    pose = pair_of_run(old).pose
    flipped = evaluate(
        EvalRequest(stage="pose", checkpoint=Path(pose.checkpoint), device="cpu", flip_test=True)
    ).flipped
    assert flipped is not None
    assert document["flip_test"]["labelled_boxes"]["OKS"] == flipped[0].scores.oks.as_dict()
    for shown in (done.out, page.read_text()):
        assert "gain of a flip test" in shown
    plain = run("eval", "--run", pair_dir, "--device", "cpu", "--report", page)
    assert "gain of a flip test" not in plain.out
    assert "--flip-test</code> measures the gain of averaging with the mirrored crop" in page.read_text()
    assert "flip_test=True" not in plain.out


def test_undertrained_is_named_with_its_signs(det_run: Run, pose_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for each, name in ((det_run, "det"), (pose_run, "pose")):
        shutil.copytree(each.work_dir, folder / name)
    (folder / "pose" / "metrics.json").unlink()
    config = next((folder / "pose").glob("*.py"))
    config.write_text(config.read_text().replace("max_epochs=2", "max_epochs=7"))
    report = evaluate(EvalRequest(run=folder, device="cpu"))
    iterations = load_checkpoint(pair_of_run(folder).det.checkpoint)["meta"]["iter"]
    texts = {one.code: one.text for one in report.remarks["boxes"]}
    assert f"undertrained: {iterations} iterations" in texts["few-iterations"]
    assert f"`posetools train --stage det --work-dir {folder / 'det'} --resume --epochs 4`" in texts["few-iterations"]
    assert "box AP is 0.000 with the averaged weights and 0.000 with the trained weights" in texts["both-weights"]
    poses = {one.code: one.text for one in report.remarks["poses, labeled boxes"]}
    assert "undertrained: the run ended after 2 of 7 epochs" in poses["stopped"]
    assert not any(one.code == "zero" for of_part in report.remarks.values() for one in of_part)


def test_the_weights_as_trained_are_measured_where_the_average_finds_nothing(
    tiny: Tiny, det_run: Run, pair_dir: Path, tmp_path: Path
) -> None:
    import torch

    # As with a broken average: mmengine saves it in state_dict, and the trained weights next to it.
    work_dir = tmp_path / "det"
    shutil.copytree(det_run.work_dir, work_dir)
    broken, good = (load_checkpoint(best_in(folder) or "") for folder in (work_dir, pair_dir / "det"))
    names = dict(good["state_dict"])
    broken["ema_state_dict"] = {f"module.{name}": value for name, value in names.items()}
    broken["state_dict"] = {
        name: torch.zeros_like(value) if "rtm_reg" in name else value for name, value in names.items()
    }
    path = work_dir / "best_coco_bbox_mAP_epoch_2.pth"
    torch.save(broken, path)

    def label(image: Pixels, _: Floats) -> list[tuple[Floats, Floats]]:
        found = Detector(next(work_dir.glob("*.py")), path, raw=True)([image])[0]
        boxes = np.clip(found.boxes[:3], 0, [96, 80, 96, 80])
        return [(box, np.zeros((8, 3))) for box in boxes if (box[2:] - box[:2]).min() > 3]

    data = tmp_path / "data"
    relabelled(tiny, data, label)
    done = run("eval", "--stage", "det", path, "--data", data, "--device", "cpu")
    assert done.status == 0, done.err
    said = re.search(
        r"box AP is (\S+) with the averaged weights and (\S+) with the trained weights: (.*?);", done.words
    )
    assert said is not None, done.words
    assert float(said[1]) < 0.01 < 0.3 < float(said[2])
    assert said[3] == "the trained weights are better"


def test_a_bundle_stands_beside_its_run(pair_dir: Path, tiny: Tiny, whole: Report, tmp_path: Path) -> None:
    bundle = tmp_path / "cars.zip"
    export(ExportRequest(pair=pair_of_run(pair_dir), out=bundle, samples=1))
    file = tmp_path / "both.json"
    done = run("eval", "--run", pair_dir, "--bundle", bundle, "--data", tiny.data, "--device", "cpu", "--json", file)
    assert done.status == 0, done.err
    of_run, of_bundle = json.loads(file.read_text())["runs"]
    assert (of_run["name"], of_bundle["name"]) == (str(pair_dir), str(bundle))
    assert of_run["det"]["bbox"] == whole.det.scores.as_dict()
    # Evaluation and prediction agree: no flip test in either.
    assert of_bundle["det"]["bbox"]["AP"] == pytest.approx(of_run["det"]["bbox"]["AP"], abs=0.02)
    for measure in ("PCK@0.1", "PCK@0.2", "NME"):
        ours, theirs = (
            each["labelled_boxes"]["points"]["labelled"]["overall"][measure] for each in (of_run, of_bundle)
        )
        assert theirs == pytest.approx(ours, abs=0.005)
    options = PipelineOptions(device="cpu", bbox_thr=0.05, heatmaps=True)
    image = tiny.data / IMAGES / "4.png"
    by_run, by_bundle = (
        pipeline(image)
        for pipeline in (PosePipeline.from_run(pair_dir, options), PosePipeline.from_bundle(bundle, options))
    )
    assert len(by_run) > 0
    assert by_run.heatmaps is not None and by_bundle.heatmaps is not None
    # A quarter of the input, 64 x 64, for any backend.
    assert by_run.heatmaps.shape == by_bundle.heatmaps.shape == (len(by_run), 8, 16, 16)
    np.testing.assert_allclose(by_run.heatmaps, by_bundle.heatmaps, atol=1e-3)
    alone = run("eval", "--bundle", bundle)
    assert alone.status != 0
    assert f"{bundle}: a bundle requires --data" in alone.words
    assert "add --data DIR, the data set to evaluate on" in alone.words


PAIRS_REFUSED: list[tuple[list[str], str]] = [
    ([], "name the models to evaluate fix: use --run DIR or --bundle ZIP for a pair"),
    (["a.pth"], "a.pth: --stage must be det or pose, got none"),
    (
        ["a.pth", "--stage", "det", "--run", "work_dirs"],
        "name a pair or a single model, got a.pth and work_dirs",
    ),
    (["a.pth", "--stage", "det", "--report", "x.html"], "--report needs a pair"),
    (["--run", "work_dirs", "--config", "x.py"], "--config is for a single CHECKPOINT, not for --run or --bundle"),
    (["--run", "a", "--run", "a"], "the same --run or --bundle is given twice"),
    (["--run", "gone"], "gone: must be a folder with the runs of a detector and a pose estimator"),
    (
        ["--bundle", "cars.zip", "--flip-test"],
        "--flip-test needs the pose estimator of --run, or CHECKPOINT --stage pose",
    ),
    (["--run", "gone", "--report", "x.json"], "--report must be a file that ends with .html or .htm, got"),
]


@pytest.mark.parametrize(("arguments", "message"), PAIRS_REFUSED)
def test_what_is_no_pair_is_refused(arguments: list[str], message: str) -> None:
    done = run("eval", *arguments)
    assert done.status != 0
    assert message in done.words


REFUSALS: list[tuple[dict[str, Any], type[PosetoolsError], str]] = [
    ({"checkpoint": Path("gone.pth")}, InputError, "gone.pth: checkpoint does not exist"),
    ({"split": "test"}, RequestError, "has no split 'test'; it has train, val"),
    ({"data": Path("elsewhere")}, RequestError, "elsewhere: must be a data set folder"),
    ({"skeleton": "coco17"}, InputError, "E301 category must be the skeleton's category 'person', got 'car'"),
    ({"device": "cuda:99"}, RequestError, "--device cuda:99"),
    ({"boxes": Path("gone.pth")}, InputError, "gone.pth: checkpoint does not exist"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), REFUSALS)
def test_what_cannot_be_evaluated_is_refused(
    pose_run: Run, changes: dict[str, Any], kind: type[PosetoolsError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        evaluate(replace(EvalRequest(stage="pose", checkpoint=pose_run.checkpoint, device="cpu"), **changes))


def test_the_other_stage_and_a_checkpoint_without_config_are_refused(pose_run: Run, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"must be 'mmdet' for --stage det, got 'mmpose'\n  fix: pass --stage pose"):
        evaluate(EvalRequest(checkpoint=pose_run.checkpoint))
    alone = tmp_path / "alone.pth"
    shutil.copyfile(pose_run.checkpoint, alone)
    with pytest.raises(
        RequestError, match=r"has no config\n  fix: keep only the config of the run in it, .*eval --config FILE"
    ):
        evaluate(EvalRequest(stage="pose", checkpoint=alone))


def test_labels_with_errors_are_not_measured(tiny: Tiny, pose_run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny.data, data)
    document = json.loads(ann_file(data, "val").read_text())
    document["annotations"][1]["keypoints"][2] = 7
    ann_file(data, "val").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"val_coco.json: annotations\[1\].*: E107 .*\n.*posetools validate"):
        evaluate(EvalRequest(stage="pose", checkpoint=pose_run.checkpoint, data=data, device="cpu"))
