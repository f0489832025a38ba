"""Out-of-fold evaluation: the joined predictions are those of one pass, and each image's are of the right pair."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, concatenate
from posetools.core.folder import IMAGES, ann_file, categories_of, fold_folder, fold_mark, fold_split
from posetools.core.skeleton import parse_skeleton
from posetools.evaluation.categories import CategoriesReport
from posetools.evaluation.coco import Predictions
from posetools.evaluation.folds import joined, out_of_fold
from posetools.evaluation.run import EvalRequest, evaluate
from posetools.evaluation.scoring import BoxPoses, PairPredictions, Task, collect_each
from posetools.formats.coco.format import read_split, write_split
from posetools.imaging.frames import read_image
from posetools.pairs.open import PipelineOptions, open_pair
from tests.build import make_dataset, without_split
from tests.cli.run import run
from tests.coco_cases import peer_stats
from tests.fold_runs import FoldRuns, exchange, with_boxes
from tests.oracle import Oracle
from tests.road_object import SKELETON_YAML

CPU = PipelineOptions(device="cpu")


def _same(one: PairPredictions, other: PairPredictions) -> None:
    def arrays(said: PairPredictions) -> Sequence[object]:
        parts: list[Predictions | BoxPoses] = [said.boxes, said.on_labels.every, said.on_boxes.every]
        own = [getattr(part, name) for part in parts for name in ("image_index", "boxes", "scores", "keypoints")]
        sides = (said.on_labels, said.on_boxes)
        return [*own, *(getattr(side, name) for side in sides for name in ("box_scores", "kept", "matched"))]

    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert one.labels == other.labels


def test_the_joined_predictions_are_those_of_one_pass_over_all_images(tmp_path: Path) -> None:
    skeleton = parse_skeleton("critter.yaml", SKELETON_YAML)
    truth = make_dataset(tmp_path, skeleton=skeleton, images=[f"{i:02}.png" for i in range(11)], size=(96, 80))
    oracle = Oracle(truth, lost=frozenset({2, 9}), ghosts=2)
    parts = [truth.select_images(range(at, 11, 3)) for at in (2, 0, 1)]

    def predict(labels: Dataset) -> PairPredictions:
        return collect_each([Task(labels, 1, oracle)], oracle)[0]

    assert concatenate(parts) == truth
    _same(joined(parts, [predict(part) for part in parts]), predict(truth))


def _relabel(source: Path, work: Path, target: Path) -> Path:
    """Copy a data set, with labels near some of the out-of-fold predictions: metrics are neither 0 nor 1."""
    shutil.copytree(source, target)
    rng = np.random.default_rng(1)
    for fold in (1, 2):
        split = fold_split(fold, "val")
        pair = open_pair(CPU, run=fold_folder(work, fold))
        labels = read_split(ann_file(target, split), target / IMAGES, pair.categories).dataset
        boxes, keypoints = labels.boxes.copy(), labels.keypoints.copy()
        for image, rows in zip(labels.images, labels.rows_of_images(), strict=True):
            assert image.path is not None
            pixels, limit = read_image(image.path), np.array([*image.size, *image.size])
            found = pair.detector([pixels])[0]
            inside = np.clip(found.boxes, 0, limit)
            big = inside[(inside[:, 2:] - inside[:, :2]).min(axis=1) > 4]
            for row in rows:
                boxes[row] = np.clip(big[rng.integers(min(20, len(big)))] + rng.normal(0, 1, 4), 0, limit)
                poses = pair.estimator.estimate([pixels], [boxes[row : row + 1]])[0]
                moved = poses.keypoints[0] + rng.normal(0, 3, poses.keypoints[0].shape)
                keypoints[row, :, :2] = np.where(keypoints[row, :, 2:] > 0, np.clip(moved, 0, limit[:2]), 0)
        sides = boxes[:, 2:] - boxes[:, :2]
        write_split(replace(labels, boxes=boxes, keypoints=keypoints, areas=sides.prod(1)), ann_file(target, split))
    return target


@pytest.mark.train
def test_the_pooled_metrics_are_pycocotools_of_each_images_own_pair(critters: FoldRuns, tmp_path: Path) -> None:
    file, page = tmp_path / "folds.json", tmp_path / "folds.html"
    work = with_boxes(critters, tmp_path / "work")
    data = _relabel(critters.data, work, tmp_path / "near")
    done = run(
        *("eval", "--run", work, "--folds", "--data", data, "--device", "cpu"),
        *("--json", file, "--report", page),
    )
    assert done.status == 0, done.err
    document = json.loads(file.read_text())
    assert (document["images"], document["split"]) == (7, "val of 2 folds")
    assert page.read_text().startswith("<!DOCTYPE html>")

    # Boxes: each image through the pair of its fold, without posetools' evaluation.
    categories = categories_of(data)
    splits = [read_split(ann_file(data, fold_split(i, "val")), data / IMAGES, categories).dataset for i in (1, 2)]
    truth, sigmas = concatenate(splits), np.array(categories.only.sigmas)
    assert len(truth.images) == 7
    names, rows = [image.file_name for image in truth.images], []
    for fold, split in enumerate(splits, start=1):
        detector = open_pair(CPU, run=fold_folder(work, fold)).detector
        for image in split.images:
            assert image.path is not None
            found = detector([read_image(image.path)])[0]
            rows += [(names.index(image.file_name), *row) for row in zip(found.boxes, found.scores, strict=True)]
    index, boxes, scores = (np.array(column) for column in zip(*rows, strict=True))
    predicted = Predictions(index, boxes, scores, np.zeros((len(rows), 0, 2)), np.zeros((len(rows), 0)))
    expected = peer_stats("pycocotools", truth, predicted, "bbox", sigmas)
    own = document["det"]["bbox"]
    assert 0.02 < own["AP"] < 0.98
    assert [own["AP"], own["AP50"]] == pytest.approx(expected[:2], abs=1e-6)

    labels, said = out_of_fold(work, data, CPU).parts["critter"]
    assert labels == truth
    poses = peer_stats("pycocotools", labels, said.on_labels.thinned, "keypoints", sigmas)
    own = document["labelled_boxes"]["OKS"]
    assert 0.02 < own["AP"] < 0.98
    assert [own["AP"], own["AP50"]] == pytest.approx(poses[:2], abs=1e-6)


@pytest.mark.train
def test_a_pair_of_one_fold_is_evaluated_on_its_own_val_split(critters: FoldRuns) -> None:
    report = evaluate(EvalRequest(run=critters.work / "fold-2", device="cpu"))
    own = read_split(ann_file(critters.data, "folds/2/val"), critters.data / IMAGES, categories_of(critters.data))
    assert (report.subject.split, report.truth) == ("folds/2/val", own.dataset)
    trained = json.loads((critters.work / "fold-2/evaluation.json").read_text())
    assert (trained["split"], trained["images"]) == ("folds/2/val", len(own.dataset.images))


@pytest.mark.train
def test_two_runs_with_folds_are_compared_on_all_images(critters: FoldRuns, tmp_path: Path) -> None:
    other, file = tmp_path / "again", tmp_path / "both.json"
    shutil.copytree(critters.work, other)
    done = run("eval", "--run", critters.work, "--run", other, "--folds", "--device", "cpu", "--json", file)
    assert done.status == 0, done.err
    command = f"posetools train --stage det --work-dir {critters.work / 'fold-1/det'} --resume"
    assert "undertrained" in done.words
    assert command in done.words
    one, two = json.loads(file.read_text())["runs"]
    assert one["det"] == two["det"]
    assert one["images"] == 7


@pytest.mark.train
def test_each_category_is_pooled(both_kinds: FoldRuns) -> None:
    report = evaluate(EvalRequest(run=both_kinds.work, folds=True, device="cpu"))
    assert isinstance(report, CategoriesReport)
    splits = [ann_file(both_kinds.data, split) for split in ("train", "val")]
    categories = categories_of(both_kinds.data)
    whole = concatenate([read_split(file, both_kinds.data / IMAGES, categories).dataset for file in splits])
    assert without_split(report.truth.images) == without_split(whole.images)
    np.testing.assert_array_equal(report.truth.boxes, whole.boxes)
    for name, own in report.by_category.items():
        (category,) = own.truth.categories
        labels = whole.of_categories(Categories((whole.categories[category],)))
        assert name == labels.skeleton.category.name
        np.testing.assert_array_equal(own.truth.keypoints, labels.keypoints)
        assert (own.labeled.poses.matched >= 0).all() == (own.truth.num_labeled > 0).all()


@pytest.mark.train
def test_a_fold_without_a_pair_is_named_with_the_command_that_trains_it(critters: FoldRuns, tmp_path: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(critters.work, work)
    shutil.rmtree(work / "fold-2/pose")
    done = run("eval", "--run", work, "--folds")
    assert done.status != 0
    assert f"{work / 'fold-2'}: must have the trained pair of fold 2 of {critters.data}" in done.err
    command = f"posetools train --stage all {critters.data} --fold 2 --work-dir {work} --resume"
    assert f"fix: `{command}` trains it" in done.err
    done = run("eval", "--run", tmp_path, "--folds")
    assert f"{tmp_path}: has no runs of folds" in done.err


@pytest.mark.train
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("divided", "fold 1 of {data} has other val images than when this config was written"),
        ("exchanged", "fold must be 1, got 2"),
        ("doubled", "must be in the val split of one fold, but is in folds/1/val too"),
    ],
)
def test_models_that_trained_on_the_images_are_not_measured(
    critters: FoldRuns, tmp_path: Path, change: str, message: str
) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    shutil.copytree(critters.data, data)
    shutil.copytree(critters.work, work)
    if change == "divided":
        exchange(data / "folds/1", data / "folds/2")
    elif change == "exchanged":
        exchange(work / "fold-1", work / "fold-2")
    else:
        shutil.copyfile(data / "folds/1/val_coco.json", data / "folds/2/val_coco.json")
        before, after = fold_mark(critters.data, 2), fold_mark(data, 2)
        for config in (work / "fold-2").glob("*/*.py"):
            config.write_text(config.read_text().replace(before, after))
    done = run("eval", "--run", work, "--folds", "--data", data, "--device", "cpu")
    assert done.status != 0
    assert message.format(data=data) in done.words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bundle", "pair.zip"], "--folds cannot be combined with --bundle"),
        (["--stage", "det", "epoch_2.pth"], "--folds cannot be combined with CHECKPOINT"),
        (["--run", "work", "--split", "test"], "--folds cannot be combined with --split test"),
    ],
)
def test_folds_are_for_the_pairs_of_a_run(arguments: list[str], message: str) -> None:
    done = run("eval", "--folds", *arguments)
    assert done.status != 0
    assert message in done.err
