"""The emitted text, without OpenMMLab; tests/recipes/test_stack.py loads it with mmengine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from posetools.errors import RequestError
from posetools.recipes.emit import EmittedPair, emit_pair
from posetools.recipes.options import RecipeOptions
from posetools.skeleton import Skeleton, load_skeleton
from tests.recipes.sample import write_coco

CAR8 = load_skeleton("car8")
GOLDEN = Path(__file__).parent / "golden"
DATA = Path("data/cars")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def emit(options: dict[str, Any] | None = None, *, skeleton: Skeleton = CAR8, **data: Any) -> EmittedPair:
    write_coco(DATA, skeleton=skeleton, **data)
    return emit_pair(DATA, skeleton, RecipeOptions.model_validate(options or {}), Path("configs"), overwrite=True)


def values(path: Path) -> dict[str, Any]:
    """Run an emitted config that refers to nothing of its base."""
    namespace: dict[str, Any] = {}
    exec(path.read_text(encoding="utf-8"), namespace)
    return namespace


# Written anew with POSETOOLS_GOLDEN=write, then read and compared by a person.
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
    pair = emit({"det": {"input_size": 64, "epochs": epochs, "batch_size": batch}}, train=train)
    config = values(pair.det)
    assert config["param_scheduler"][0]["end"] == warmup
    assert config["iterations"] == epochs * -(-train // batch)


def test_the_learning_rate_goes_with_the_root_of_the_batch_unless_stated() -> None:
    pair = emit({"det": {"input_size": 64, "batch_size": 16}, "pose": {"batch_size": 64}})
    assert values(pair.det)["optim_wrapper"]["optimizer"]["lr"] == pytest.approx(0.004 / 4)
    assert values(pair.pose)["optim_wrapper"]["optimizer"]["lr"] == pytest.approx(0.004 / 4)
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
    config = values(emit({"pose": {"input_size": size}}).pose)
    assert config["model"]["head"]["in_featuremap_size"] == feature_map
    assert config["codec"]["sigma"] == sigma
    assert {step["input_size"] for step in config["train_pipeline"] if step["type"] == "TopdownAffine"} == {
        config["codec"]["input_size"]
    }


def test_the_detectors_input_size_is_in_every_step_of_every_pipeline() -> None:
    config = values(emit({"det": {"size": "l", "input_size": "352x224"}}).det)
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
    always = emit({"det": {"input_size": 64, "epochs": 5, "stage2_epochs": 5}, "pose": {"stage2_epochs": 210}})
    det, pose = values(always.det), values(always.pose)
    assert [hook["type"] for hook in det["custom_hooks"] + pose["custom_hooks"]] == ["EMAHook", "EMAHook"]
    assert "CachedMosaic" not in [step["type"] for step in det["train_dataloader"]["dataset"]["pipeline"]]
    assert pose["train_dataloader"]["dataset"]["pipeline"] == pose["train_pipeline_stage2"]


def test_pictures_without_an_object_stay_in() -> None:
    config = values(emit(empty=2).det)
    assert config["train_dataloader"]["dataset"]["filter_cfg"] == {"filter_empty_gt": False}
    crops = [s for s in config["train_pipeline"] + config["train_pipeline_stage2"] if s["type"] == "RandomCrop"]
    assert [crop["allow_negative_crop"] for crop in crops] == [True, True]


def test_a_skeleton_without_swaps_is_never_mirrored() -> None:
    points = tuple(point.model_copy(update={"swap": None}) for point in CAR8.keypoints)
    config = values(emit(skeleton=CAR8.model_copy(update={"keypoints": points})).pose)
    assert "RandomFlip" not in {s["type"] for s in config["train_pipeline"] + config["train_pipeline_stage2"]}
    assert config["model"]["test_cfg"] == {"flip_test": False}
    assert "RandomFlip" in {step["type"] for step in values(emit().pose)["train_pipeline"]}


def test_joint_weights_reach_the_loss() -> None:
    weighted = load_skeleton("coco17")
    targets = [s for s in values(emit(skeleton=weighted).pose)["train_pipeline"] if s["type"] == "GenerateTarget"]
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
    for stage, field in (("det", "backbone"), ("pose", "load_from")):
        with pytest.raises(RequestError) as caught:
            emit({stage: {field: "gone.pth"}})
        assert f"--{field.replace('_', '-')} ({stage}): must be " in str(caught.value)
        assert "an existing file, got 'gone.pth'" in str(caught.value)


def test_an_edited_file_is_not_replaced_unasked() -> None:
    pair = emit()
    before = pair.pose.read_bytes()
    assert emit_pair(DATA, CAR8, RecipeOptions(), Path("configs")).pose.read_bytes() == before
    pair.pose.write_text("mine\n", encoding="utf-8")
    options = RecipeOptions(seed=5)
    with pytest.raises(RequestError, match=r"rtmdet_m_car8\.py: exists and is not what would be written.*\n.*--overw"):
        emit_pair(DATA, CAR8, options, Path("configs"))
    assert pair.pose.read_text(encoding="utf-8") == "mine\n"
    assert "seed=21" in pair.det.read_text(encoding="utf-8")
    emit_pair(DATA, CAR8, options, Path("configs"), overwrite=True)
    assert "seed=5" in pair.pose.read_text(encoding="utf-8")


def test_the_notes_say_how_much_there_is_to_learn_from() -> None:
    det, pose = emit().notes
    assert det.startswith("det: 4 pictures in batches of 4; iterations: 1 per epoch, 200 in all, 20 of them warm-up")
    assert "fewer than 2000 iterations are few" in pose
    assert "few" not in emit({"det": {"epochs": 2000}}).notes[0]
