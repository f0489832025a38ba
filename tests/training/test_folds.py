"""``train --folds``: each fold's pair trains on its own splits, folds are resumed, and wrong requests are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from posetools.core.folder import ann_file, fold_split, folds_of
from posetools.mm.configs import ann_file_of, inner_dataset, load_config
from posetools.mm.run_folder import last_in, model_folders
from tests.cli.run import Done, run
from tests.fold_runs import TINY, FoldRuns, exchange, make_critters, write_folds
from tests.two_kinds import KINDS

pytestmark = pytest.mark.train


def _names(file: Path) -> set[str]:
    return {image["file_name"] for image in json.loads(file.read_text())["images"]}


def _train(runs: FoldRuns, work: Path, *more: str | Path, stage: str = "all") -> Done:
    return run(
        *("train", "--stage", stage, runs.data, "--configs", runs.configs, "--work-dir", work, "--device", "cpu"), *more
    )


def test_each_pair_trains_on_the_train_split_of_its_fold_and_is_evaluated_on_its_val_split(critters: FoldRuns) -> None:
    assert f"posetools eval --run {critters.work} --folds" in critters.printed
    for fold in folds_of(critters.data):
        files = {split: ann_file(critters.data, fold_split(fold, split)) for split in ("train", "val")}
        for folder in model_folders(critters.work / f"fold-{fold}"):
            config = load_config(next(folder.glob("*.py")))
            loaders = {split: inner_dataset(config[f"{split}_dataloader"]) for split in files}
            assert {split: ann_file_of(one) for split, one in loaders.items()} == files
            assert Path(config.val_evaluator.ann_file) == files["val"]
            assert last_in(folder) is not None
        text = next((critters.configs / f"fold-{fold}").glob("rtmdet*.py")).read_text()
        assert f"{len(_names(files['train']))} images per epoch" in text
        evaluated = json.loads((critters.work / f"fold-{fold}/evaluation.json").read_text())
        assert evaluated["images"] == len(_names(files["val"]))


def test_a_pose_estimator_of_several_has_the_annotations_of_its_fold(both_kinds: FoldRuns) -> None:
    for fold in folds_of(both_kinds.data):
        for skeleton in KINDS.skeletons:
            config = load_config(next((both_kinds.work / f"fold-{fold}/pose-{skeleton.name}").glob("*.py")))
            for split in ("train", "val"):
                file = ann_file_of(inner_dataset(config[f"{split}_dataloader"]))
                assert file.parent.parent == both_kinds.configs / f"fold-{fold}"
                assert _names(file) == _names(ann_file(both_kinds.data, fold_split(fold, split)))
                assert [one["name"] for one in json.loads(file.read_text())["categories"]] == [skeleton.category.name]


def test_finished_folds_are_skipped_and_the_others_resume(critters: FoldRuns, tmp_path: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(critters.work, work)
    # As if the second pair was stopped before its pose estimator.
    for path in (*(work / "fold-2/pose").glob("*.pth"), work / "fold-2/evaluation.json"):
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.pth")}
    done = _train(critters, work, "--folds")
    assert done.status != 0
    assert f"{work / 'fold-1/det'}: has checkpoints of an earlier run" in done.err
    assert "--resume" in done.err
    done = _train(critters, work, "--folds", "--resume")
    assert done.status == 0, done.err
    assert "nothing to do: both models are trained" in done.words
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert last_in(work / "fold-2/pose") is not None
    assert (work / "fold-2/evaluation.json").is_file()


def test_one_fold_and_one_stage_are_trained_alone(critters: FoldRuns, tmp_path: Path) -> None:
    done = _train(critters, tmp_path / "work", "--fold", "2", stage="det")
    assert done.status == 0, done.err
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["fold-2"]
    assert last_in(tmp_path / "work/fold-2/det") is not None
    done = _train(critters, tmp_path / "work", "--fold", "2", "--resume")
    assert done.status == 0, done.err
    assert (tmp_path / "work/fold-2/evaluation.json").is_file()


def test_an_error_says_that_the_same_command_resumes_all_folds(critters: FoldRuns, tmp_path: Path) -> None:
    option = "det.default_hooks.timer.type=NoSuchHook"
    done = _train(critters, tmp_path / "work", "--folds", "--cfg-options", option)
    assert done.status != 0
    assert "NoSuchHook is not in the" in done.err
    assert "the same command with --resume continues with this fold" in done.err


def test_the_pairs_share_the_minutes(tmp_path: Path) -> None:
    data = make_critters(tmp_path, 2)
    sizes = [word for pair in zip(TINY[::2], TINY[1::2], strict=True) if pair[0] != "--epochs" for word in pair]
    done = run("config", data, "--out", tmp_path / "configs", "--folds", "--minutes", "6", *sizes)
    assert done.status == 0, done.err
    assert "6 minutes for 2 pairs: 3 for each" in done.out
    for fold in (1, 2):
        configs = [load_config(path) for path in (tmp_path / f"configs/fold-{fold}").glob("*.py")]
        # The rest is for evaluation.
        assert 2.8 < sum(config.minutes for config in configs) <= 3


def test_a_dry_run_of_a_fold_leaves_nothing(critters: FoldRuns, tmp_path: Path) -> None:
    done = _train(critters, tmp_path / "work", "--fold", "1", "--dry-run")
    assert done.status == 0, done.err
    assert "dry run" in done.words
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fold", "7"], "fold must be one of {data}: 1, 2, got 7"),
        (["--folds", "--fold", "1"], "--folds trains all folds, --fold 1 only one"),
        (
            ["--folds", "--config", "rtmdet.py"],
            "--config cannot be combined with --folds: each fold has its own configs",
        ),
        (["--folds", "--dry-run"], "--dry-run cannot be combined with --folds"),
        (["--folds", "--resume"], "{work}: has no run of a fold to resume"),
    ],
)
def test_requests_that_mean_nothing(critters: FoldRuns, tmp_path: Path, options: Sequence[str], message: str) -> None:
    done = _train(critters, tmp_path / "work", *options)
    assert done.status != 0
    assert message.format(data=critters.data, work=tmp_path / "work") in done.words
    assert list(tmp_path.iterdir()) == []


def test_configs_and_data_that_do_not_belong_together(tmp_path: Path) -> None:
    data, configs = make_critters(tmp_path, 0), tmp_path / "configs"
    command = ("train", "--stage", "all", data, "--folds", "--configs", configs, "--work-dir", tmp_path / "work")
    for words in (command, ("config", data, "--folds"), ("eval", "--run", tmp_path, "--folds", "--data", data)):
        done = run(*words)
        assert done.status != 0
        assert f"{data}: has no folds\n  fix: `posetools split {data} --folds 5` makes them" in done.err
    # The pair of the data set may have other options than the default pair.
    write_folds(data, 2)
    assert run("config", data, "--out", configs, *TINY).status == 0
    done = run(*command)
    assert f"{configs}: has a pair of configs for {data}, but none for its fold 1" in done.err
    assert f"fix: `posetools config {data} --folds` with the options of that pair writes them" in done.err
    # The folds are divided differently after their configs were written.
    assert run("config", data, "--out", configs, "--folds", *TINY).status == 0
    exchange(data / "folds/1", data / "folds/2")
    done = run(*command)
    assert f"fold 1 of {data} has other val images than when this config was written" in done.err
    assert f"fix: `posetools config {data} --folds --overwrite`" in done.err
