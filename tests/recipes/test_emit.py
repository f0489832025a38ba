"""The emitted text, without OpenMMLab; tests/recipes/test_stack.py loads it with mmengine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from posetools.core.skeleton import Skeleton, load_skeleton
from posetools.errors import RequestError
from posetools.recipes.emit import ChosenPair, emit_pair
from posetools.recipes.machine import Machine
from posetools.recipes.options import RecipeOptions
from posetools.recipes.recipe import Measurement
from tests.recipes.sample import write_coco
from tools.sample_data import REFERENCE

CAR8 = load_skeleton("car8")
GOLDEN = Path(__file__).parent / "golden"
DATA = Path("data/cars")
STRONG = {"pose": {"augmentation": "strong"}}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def emit(options: dict[str, Any] | None = None, *, skeleton: Skeleton = CAR8, **data: Any) -> ChosenPair:
    write_coco(DATA, skeleton=skeleton, **data)
    said = RecipeOptions.model_validate(options or {})
    return emit_pair(DATA, skeleton, said, Path("configs"), overwrite=True, machine=REFERENCE)


def values(path: Path) -> dict[str, Any]:
    """Run an emitted config that does not use its base."""
    namespace: dict[str, Any] = {}
    exec(path.read_text(encoding="utf-8"), namespace)
    return namespace


# Rewrite with POSETOOLS_GOLDEN=write, then review the changes.
@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({}, {"train": 270, "val": 30}),
        (
            {
                "seed": 3,
                "workers": 0,
                "det": {"size": "tiny", "input_size": 256, "epochs": 30, "batch_size": 8, "lr": 0.001},
                "pose": {"size": "x", "input_size": "288x384", "epochs": 40, "simcc_split_ratio": 1.5},
            },
            {"train": 12, "empty": 3},
        ),
    ],
)
def test_the_text_is_the_golden_one(options: dict[str, Any], data: dict[str, Any]) -> None:
    pair = emit(options, **data)
    for path in (pair.det, pair.pose):
        golden = GOLDEN / f"{path.name}.txt"
        if os.environ.get("POSETOOLS_GOLDEN") == "write":
            golden.write_bytes(path.read_bytes())
        assert path.read_text(encoding="utf-8") == golden.read_text(encoding="utf-8")


def test_the_names_and_the_data_root_are_the_users() -> None:
    pair = emit({"det": {"size": "s"}, "pose": {"size": "t"}})
    assert (pair.det, pair.pose) == (Path("configs/rtmdet_s_car8.py"), Path("configs/rtmpose-t_car8.py"))
    assert values(pair.pose)["data_root"] == "data/cars"


def test_every_epoch_number_follows_from_max_epochs() -> None:
    shared = {"epochs": 31, "stage2_epochs": 7}
    pair = emit({"det": {**shared, "input_size": 64}, "pose": shared})
    det = values(pair.det)
    for config in (det, values(pair.pose)):
        assert config["train_cfg"]["max_epochs"] == 31
        cosine = config["param_scheduler"][1]
        assert (cosine["begin"], cosine["end"], cosine["T_max"]) == (15, 31, 16)
        assert config["custom_hooks"][-1]["switch_epoch"] == 24
        assert config["train_cfg"]["val_interval"] == config["default_hooks"]["checkpoint"]["interval"] == 3
    assert det["train_cfg"]["dynamic_intervals"] == [(24, 1)]


@pytest.mark.parametrize(
    ("train", "epochs", "batch", "warmup"),
    [(2, 1, 8, 2), (4, 100, 4, 10), (40, 100, 4, 100), (500, 200, 4, 1000)],
)
def test_the_warm_up_is_a_tenth_of_all_iterations(train: int, epochs: int, batch: int, warmup: int) -> None:
    pair = emit({"det": {"input_size": 64, "epochs": epochs, "batch_size": batch, "repeat": 1}}, train=train)
    config = values(pair.det)
    assert config["param_scheduler"][0]["end"] == warmup
    assert config["iterations"] == epochs * -(-train // batch)


def test_the_learning_rate_goes_with_the_root_of_the_batch_unless_stated() -> None:
    pair = emit({"det": {"input_size": 64, "batch_size": 16, "load_from": "none"}, "pose": {"batch_size": 64}})
    assert values(pair.det)["optim_wrapper"]["optimizer"]["lr"] == pytest.approx(0.004 / 4)
    assert values(pair.pose)["optim_wrapper"]["optimizer"]["lr"] == pytest.approx(0.004 / 4)
    pair = emit({"det": {"batch_size": 16, "load_from": "coco"}, "pose": {"batch_size": 2}})
    assert values(pair.det)["base_lr"] == pytest.approx(0.004 / 4 / 2)
    assert values(pair.pose)["base_lr"] == 0.0005
    pair = emit({"det": {"input_size": 64, "lr": 0.004}, "pose": {"lr": 0.0003}})
    assert values(pair.det)["optim_wrapper"]["optimizer"]["lr"] == 0.004
    assert values(pair.pose)["param_scheduler"][1]["eta_min"] == pytest.approx(0.0003 * 0.05)


@pytest.mark.parametrize(
    ("size", "feature_map", "sigma"),
    [
        (256, (8, 8), (5.66, 5.66)),
        (384, (12, 12), (6.93, 6.93)),
        (512, (16, 16), (8.0, 8.0)),
        (1024, (32, 32), (11.31, 11.31)),
        ("192x256", (6, 8), (4.9, 5.66)),
    ],
)
def test_the_feature_map_and_the_target_follow_the_input(
    size: object, feature_map: tuple[int, int], sigma: tuple[float, float]
) -> None:
    config = values(emit({"pose": {"input_size": size, "augmentation": "strong"}}).pose)
    assert config["model"]["head"]["in_featuremap_size"] == feature_map
    assert config["codec"]["sigma"] == sigma
    assert {step["input_size"] for step in config["train_pipeline"] if step["type"] == "TopdownAffine"} == {
        config["codec"]["input_size"]
    }


def test_the_detectors_input_size_is_in_every_step_of_every_pipeline() -> None:
    config = values(emit({"det": {"size": "l", "input_size": "352x224", "augmentation": "strong"}}).det)
    used = {
        (name, step["type"]): next(step[key] for key in ("img_scale", "scale", "crop_size", "size") if key in step)
        for name in ("train_pipeline", "train_pipeline_stage2", "test_pipeline")
        for step in config[name]
        if {"img_scale", "scale", "crop_size", "size"} & set(step)
    }
    assert used.pop(("train_pipeline", "RandomResize")) == (704, 448)
    assert set(used.values()) == {(352, 224)}
    assert len(used) == 9
    assert config["tta_scales"] == [(352, 224), (176, 112), (544, 352)]


def test_a_stage_2_of_no_or_all_epochs_has_no_switch() -> None:
    never = emit({"det": {"input_size": 64, "stage2_epochs": 0}, "pose": {"size": "t", "stage2_epochs": 0}})
    det, pose = values(never.det), values(never.pose)
    assert [hook["type"] for hook in det["custom_hooks"]] == ["EMAHook"]
    assert pose["custom_hooks"] == []
    assert det["train_cfg"]["dynamic_intervals"] is None
    assert "CachedMosaic" in [step["type"] for step in det["train_dataloader"]["dataset"]["pipeline"]]
    always = emit(
        {"det": {"input_size": 64, "epochs": 5, "stage2_epochs": 5}, "pose": {"epochs": 6, "stage2_epochs": 6}}
    )
    det, pose = values(always.det), values(always.pose)
    assert [hook["type"] for hook in det["custom_hooks"] + pose["custom_hooks"]] == ["EMAHook", "EMAHook"]
    assert "CachedMosaic" not in [step["type"] for step in det["train_dataloader"]["dataset"]["pipeline"]]
    assert pose["train_dataloader"]["dataset"]["pipeline"] == pose["train_pipeline_stage2"]


def test_images_without_an_object_stay_in() -> None:
    config = values(emit({"det": {"augmentation": "strong"}}, empty=2).det)
    assert config["train_dataloader"]["dataset"]["filter_cfg"] == {"filter_empty_gt": False}
    crops = [s for s in config["train_pipeline"] + config["train_pipeline_stage2"] if s["type"] == "RandomCrop"]
    assert [crop["allow_negative_crop"] for crop in crops] == [True, True]


def test_a_skeleton_without_swaps_is_never_mirrored() -> None:
    points = tuple(point.model_copy(update={"swap": None}) for point in CAR8.keypoints)
    config = values(emit(STRONG, skeleton=CAR8.model_copy(update={"keypoints": points})).pose)
    assert "RandomFlip" not in {s["type"] for s in config["train_pipeline"] + config["train_pipeline_stage2"]}
    assert "RandomFlip" in {step["type"] for step in values(emit(STRONG).pose)["train_pipeline"]}


@pytest.mark.parametrize(("flip", "chosen"), [(True, "on"), (False, "off")])
def test_the_skeleton_decides_whether_images_are_mirrored(flip: bool, chosen: str) -> None:
    points = tuple(point.model_copy(update={"swap": None}) for point in CAR8.keypoints)
    without = CAR8.model_copy(update={"keypoints": points})
    skeleton = (without if flip else CAR8).model_copy(update={"flip": flip})
    emitted = emit(STRONG, skeleton=skeleton)
    config = values(emitted.pose)
    assert (
        "RandomFlip" in {step["type"] for step in config["train_pipeline"] + config["train_pipeline_stage2"]}
    ) == flip
    (row,) = (row for row in emitted.recipe.choices if row.field == "flip")
    reason = f"the skeleton car8 has `flip: {str(flip).lower()}`"
    assert (row.chosen, row.reason) == (chosen, reason)
    assert (f"- No RandomFlip: {reason}." in emitted.pose.read_text(encoding="utf-8")) == (not flip)


def test_training_is_evaluated_without_a_flip_test_as_posetools_evaluates() -> None:
    points = tuple(point.model_copy(update={"swap": None}) for point in CAR8.keypoints)
    for skeleton in (CAR8, CAR8.model_copy(update={"keypoints": points})):
        assert values(emit(STRONG, skeleton=skeleton).pose)["model"]["test_cfg"] == {"flip_test": False}


def test_joint_weights_reach_the_loss() -> None:
    weighted = load_skeleton("coco17")
    targets = [
        s for s in values(emit(STRONG, skeleton=weighted).pose)["train_pipeline"] if s["type"] == "GenerateTarget"
    ]
    assert [target["use_dataset_keypoint_weights"] for target in targets] == [True]


def test_workers_and_persistent_workers_are_tied() -> None:
    for workers in (0, 2):
        loader = values(emit({"workers": workers}).pose)["train_dataloader"]
        assert (loader["num_workers"], loader["persistent_workers"]) == (workers, workers > 0)


def test_weights_come_from_where_the_user_says(tmp_path: Path) -> None:
    weights = tmp_path / "own.pth"
    weights.touch()
    pair = emit(
        {
            "det": {"input_size": 64, "backbone": "own.pth", "load_from": "https://example.org/d.pth"},
            "pose": {"backbone": "none", "load_from": "own.pth"},
        }
    )
    det, pose = values(pair.det), values(pair.pose)
    init = {"type": "Pretrained", "prefix": "backbone.", "checkpoint": "own.pth"}
    assert det["model"]["backbone"]["init_cfg"] == init
    assert pose["model"]["backbone"]["init_cfg"] is None
    assert (det["load_from"], pose["load_from"]) == ("https://example.org/d.pth", "own.pth")
    for stage, field, option in (("det", "backbone", "--backbone"), ("pose", "load_from", "--pose-load-from")):
        with pytest.raises(RequestError) as caught:
            emit({stage: {field: "gone.pth"}})
        assert f"{option} ({stage}): must be " in str(caught.value)
        assert "an existing file, got 'gone.pth'" in str(caught.value)


def test_an_edited_file_is_not_replaced_unasked() -> None:
    pair = emit()
    before = pair.pose.read_bytes()
    assert emit_pair(DATA, CAR8, RecipeOptions(), Path("configs"), machine=REFERENCE).pose.read_bytes() == before
    pair.pose.write_text("mine\n", encoding="utf-8")
    options = RecipeOptions(seed=5)
    with pytest.raises(RequestError, match=r"rtmdet_m_car8\.py: exists with other content.*\n.*--overw"):
        emit_pair(DATA, CAR8, options, Path("configs"), machine=REFERENCE)
    assert pair.pose.read_text(encoding="utf-8") == "mine\n"
    assert "seed=21" in pair.det.read_text(encoding="utf-8")
    emit_pair(DATA, CAR8, options, Path("configs"), overwrite=True)
    assert "seed=5" in pair.pose.read_text(encoding="utf-8")


def test_the_notes_say_how_much_there_is_to_learn_from() -> None:
    det, pose = emit({"det": {"batch_size": 4, "epochs": 20}, "pose": {"repeat": 1, "epochs": 60}}).notes
    assert det.startswith(
        "det: 4 images in batches of 4, 50 times per epoch; 20 epochs of 50 iterations: 1000 in total, 100 of them warm"
    )
    assert "fewer than 2000 iterations are few" in det
    assert pose.startswith("pose: 8 objects in batches of 8; 60 epochs of 1 iteration: 60 in total, 6 of them warm-up")
    assert "an estimate" not in pose
    assert "are few" not in emit({"det": {"epochs": 2000}}).notes[0]


def test_fewer_than_50_iterations_cannot_train_and_that_is_said() -> None:
    det, pose = emit({"det": {"epochs": 49, "repeat": 1}, "pose": {"epochs": 50, "repeat": 1}}).notes
    assert "\n    49 iterations cannot train a model: at least 50 are needed" in det
    assert "cannot train" not in pose
    measured: dict[str, Measurement] = {"det": Measurement(seconds=26.0, seconds_batch=4, start_up=60)}
    minutes = RecipeOptions(minutes=5)
    notes = emit_pair(DATA, CAR8, minutes, Path("x"), machine=Machine(2), measured=measured).notes
    assert "iterations cannot train a model" in notes[0]


def test_a_recipe_that_time_limits_says_how_many_iterations_would_be_enough() -> None:
    write_coco(DATA, train=40)
    small = RecipeOptions.model_validate({"minutes": 5, "det": {"size": "tiny"}, "pose": {"epochs": 3}})
    measured: dict[str, Measurement] = {"det": Measurement(seconds=0.5, seconds_batch=8, start_up=20)}
    pair = emit_pair(DATA, CAR8, small, Path("configs"), machine=Machine(2), measured=measured)
    # 40 images in batches of 8, each seen 600 times; 130 s at half a second.
    assert values(pair.det)["enough_iterations"] == 3000
    assert values(pair.det)["iterations"] == pytest.approx(260, rel=0.1)
    assert "enough_iterations" not in values(pair.pose)
    assert "enough_iterations" not in values(emit().det)


def test_an_epoch_that_is_longer_than_the_time_is_said() -> None:
    write_coco(DATA, train=400)
    options = RecipeOptions.model_validate({"minutes": 1, "det": {"size": "tiny"}, "pose": {"size": "t"}})
    measured: dict[str, Measurement] = {"det": Measurement(seconds=4.0, seconds_batch=8)}
    notes = emit_pair(DATA, CAR8, options, Path("configs"), machine=Machine(2), measured=measured).notes
    # 50 iterations per epoch, but time for 7.
    assert (
        "about 3.3 min on 2 cores, no GPU (measured), as one epoch takes longer than the 0.485 min of this" in notes[0]
    )
    assert "longer than" not in notes[1]


def test_on_a_cpu_the_notes_estimate_the_time_and_name_the_faster_size() -> None:
    write_coco(DATA)
    options = RecipeOptions.model_validate(
        {"det": {"epochs": 100, "repeat": 1, "batch_size": 8, "input_size": "256x192"}}
    )
    det, pose = emit_pair(DATA, CAR8, options, Path("configs"), machine=Machine(2)).notes
    # RTMDet-tiny takes 0.43 s per iteration at this size with two cores (costs.py); m is 39.3 / 8.1 as much work.
    assert "about 3.5 min on 2 cores, no GPU (an estimate); --det tiny is about 5 times as fast" in det
    assert "--pose t is about 5 times as fast" in pose


def test_light_augmentation_is_one_pipeline_without_mosaic_and_cutouts() -> None:
    pair = emit({"det": {"augmentation": "light"}, "pose": {"augmentation": "light"}})
    det, pose = values(pair.det), values(pair.pose)
    for config in (det, pose):
        assert "train_pipeline" not in config
        assert "PipelineSwitchHook" not in {hook["type"] for hook in config["custom_hooks"]}
    steps = {step["type"]: step for step in det["train_pipeline_stage2"]}
    assert steps["RandomResize"]["ratio_range"] == (0.8, 1.25)
    assert not {"CachedMosaic", "CachedMixUp"} & set(steps)
    steps = {step["type"]: step for step in pose["train_pipeline_stage2"]}
    assert steps["RandomBBoxTransform"]["rotate_factor"] == 15
    assert "mmdet.CutOut" not in steps
    assert "light" in pair.det.read_text(encoding="utf-8").lower()


def test_two_input_sizes_are_two_pipelines_that_differ_in_the_size_only() -> None:
    write_coco(DATA, train=80, empty=2)
    random = {"size": "tiny", "input_size": "320x192", "load_from": "none", "backbone": "none", "repeat": 1}
    options = RecipeOptions.model_validate({"minutes": 5, "det": random})
    measured: dict[str, Measurement] = {"det": Measurement(seconds=1.0, seconds_batch=8)}
    pair = emit_pair(DATA, CAR8, options, Path("configs"), machine=Machine(2), measured=measured)
    config = values(pair.det)
    early, full = config["train_pipeline"], config["train_pipeline_stage2"]
    assert config["train_dataloader"]["dataset"]["pipeline"] is early
    for first, later in zip(early, full, strict=True):
        sizes = [key for key in ("scale", "crop_size", "size") if key in first]
        assert [(first[key], later[key]) for key in sizes] == [((160, 96), (320, 192))] * len(sizes)
        assert {**first, **{key: later[key] for key in sizes}} == later
    assert next(step for step in early if step["type"] == "RandomCrop")["allow_negative_crop"] is True
    (switch,) = (hook for hook in config["custom_hooks"] if hook["type"] == "PipelineSwitchHook")
    assert switch["switch_pipeline"] is full
    assert switch["switch_epoch"] == config["max_epochs"] - config["max_epochs"] // 3
    assert config["train_cfg"]["dynamic_intervals"] is None
    # 145.5 s, the epochs at half the size in half of the time.
    early_epochs, full_epochs = switch["switch_epoch"], config["max_epochs"] // 3
    assert "about 2.4 min on 2 cores, no GPU (measured)" in pair.notes[0]
    assert 10 * (full_epochs + early_epochs / 2) == pytest.approx(145.5, abs=10)


def test_few_samples_are_repeated_within_an_epoch() -> None:
    pair = emit({"det": {"repeat": 5, "batch_size": 2}, "pose": {"repeat": 7, "batch_size": 4}}, train=6, empty=1)
    for path, repeat, samples, batch in ((pair.det, 5, 6, 2), (pair.pose, 7, 10, 4)):
        config = values(path)
        dataset = config["train_dataloader"]["dataset"]
        assert (dataset["type"], dataset["times"], dataset["_delete_"]) == ("RepeatDataset", repeat, True)
        assert dataset["dataset"]["ann_file"] == "train_coco.json"
        assert dataset["dataset"]["pipeline"] == config["train_pipeline_stage2"]
        assert config["iterations"] == config["max_epochs"] * -(-samples * repeat // batch)
    assert values(pair.det)["train_dataloader"]["dataset"]["dataset"]["filter_cfg"] == {
        "filter_empty_gt": False,
        "min_size": 32,
    }


def test_a_repeated_data_set_and_a_switch_of_pipelines_exclude_each_other() -> None:
    with pytest.raises(RequestError) as caught:
        emit({"det": {"repeat": 3, "epochs": 10, "stage2_epochs": 2}})
    assert "det.repeat: must be 1 if augmentation changes during the run, got 3" in str(caught.value)
    assert "does not work in a RepeatDataset" in str(caught.value)


def test_the_average_of_the_weights_fits_the_length_of_the_run_and_can_be_left_out() -> None:
    often = {"epochs": 1000, "repeat": 1}
    pair = emit({"det": {**often, "batch_size": 4}, "pose": {**often, "size": "t", "ema": True}})
    for path in (pair.det, pair.pose):
        config = values(path)
        hook = config["custom_hooks"][0]
        assert config["iterations"] == 1000
        assert (hook["type"], hook["momentum"], hook["gamma"]) == ("EMAHook", 0.02, 100)
    assert values(emit({"det": {"epochs": 60000, "repeat": 1}}).det)["ema_momentum"] == pytest.approx(20 / 60000)
    assert values(emit({"det": {"epochs": 200000, "repeat": 1}}).det)["ema_momentum"] == 0.0002
    pair = emit({"det": {"ema": False}, "pose": {"ema_momentum": 0.001}})
    assert values(pair.det)["custom_hooks"] == []
    assert values(pair.pose)["custom_hooks"][0]["momentum"] == 0.001


def test_coco_names_the_stock_recipes_checkpoint_and_nothing_else_is_fetched() -> None:
    pair = emit({"det": {"size": "tiny"}, "pose": {"size": "t", "load_from": "coco"}})
    for path, name in ((pair.det, "rtmdet_tiny_8xb32-300e_coco_"), (pair.pose, "rtmpose-tiny_simcc-coco_")):
        config = values(path)
        assert config["load_from"].startswith("https://download.openmmlab.com/")
        assert name in config["load_from"]
        assert config["model"]["backbone"]["init_cfg"] is None
    with pytest.raises(RequestError, match=r"--pose-load-from: coco has no checkpoint of RTMPose-x"):
        emit({"pose": {"size": "x", "load_from": "coco"}})
    nano = values(emit({"det": {"size": "nano", "load_from": "coco"}}).det)
    published = "mmpose/v1/projects/rtmpose/rtmdet_nano_8xb32-100e_coco-obj365-person-05d8511e.pth"
    assert nano["load_from"] == f"https://download.openmmlab.com/{published}"
    # The config that it inherits has no init_cfg either.
    assert "init_cfg" not in nano["model"]["backbone"]


def test_a_frozen_backbone_needs_weights() -> None:
    pair = emit({"det": {"freeze": "backbone"}, "pose": {"freeze": "backbone"}})
    for path in (pair.det, pair.pose):
        backbone = values(path)["model"]["backbone"]
        assert (backbone["frozen_stages"], backbone["norm_eval"]) == (4, True)
    for said in ({"load_from": "none"}, {"backbone": "none"}):
        with pytest.raises(RequestError, match=r"--freeze \(det\): backbone requires .*\n.*--pretrained coco"):
            emit({"det": {"freeze": "backbone", **said}})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"det": {"augmentation": "strong", "load_from": "none"}, "pose": {"augmentation": "strong", "epochs": 50}},
        {"det": {"epochs": 40, "lr": 0.1, "warmup_iters": 3}, "pose": {"ema": True, "size": "t", "repeat": 4}},
    ],
)
def test_what_the_table_says_is_what_the_config_does(options: dict[str, Any]) -> None:
    pair = emit({"det": {"input_size": 64, **options.pop("det", {})}, **options}, train=30)
    assert isinstance(pair, ChosenPair)
    names = {
        "epochs": "max_epochs",
        "stage2_epochs": "stage2_num_epochs",
        "lr": "base_lr",
        **dict.fromkeys(("input_size", "batch_size", "val_batch_size", "val_interval", "warmup_iters"), ""),
    }
    for path, recipe in ((pair.det, pair.recipe.det), (pair.pose, pair.recipe.pose)):
        config = values(path)
        for field, name in names.items():
            assert config[name or field] == pytest.approx(getattr(recipe, field)), field
        if recipe.ema_momentum is not None:
            assert config["ema_momentum"] == pytest.approx(recipe.ema_momentum)
        for field, because in recipe.because.items():
            assert because.reason, field
