"""The emitted configs as OpenMMLab reads them: loaded, built, and run once forward."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from posetools.core.skeleton import load_skeleton
from posetools.core.skeleton_draft import draft_skeleton
from posetools.recipes import stock
from posetools.recipes.emit import emit_pair
from posetools.recipes.options import DetSize, PoseSize, RecipeOptions
from tests.recipes.sample import write_coco
from tools.sample_data import REFERENCE

pytestmark = pytest.mark.train
DET_SIZES: tuple[DetSize, ...] = get_args(DetSize)
POSE_SIZES: tuple[PoseSize, ...] = get_args(PoseSize)
CAR8 = load_skeleton("car8")
X_RECIPE = "mmpose::body_2d_keypoint/rtmpose/body8/rtmpose-x_8xb256-700e_body8-halpe26-384x288.py"
# The mmpose wheel has RTMDet-nano's config in its demo.
NANO_RECIPE = "mmpose::../demo/mmdetection_cfg/rtmdet_nano_320-8xb32_coco-person.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(tmp_path_factory.mktemp("stack") / "cars", images=True)


@pytest.fixture(autouse=True)
def _scopes() -> Iterator[None]:
    """Register both packages, and leave the default scope as it was."""
    import mmdet.utils
    import mmpose.utils
    from mmengine.registry import DefaultScope

    mmdet.utils.register_all_modules(init_default_scope=False)
    mmpose.utils.register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope(None):
        yield


def load(path: Path) -> Any:
    from mmengine.config import Config

    return Config.fromfile(path)


@cache
def stock_config(base: str) -> Any:
    from mmengine.config import Config

    return Config.fromfile(_installed(base))


def _installed(base: str) -> Path:
    import mmdet
    import mmpose

    package, _, name = base.partition("::")
    module = {"mmdet": mmdet, "mmpose": mmpose}[package]
    return Path(module.__file__).parent / ".mim" / "configs" / name


def det_recipe(size: DetSize) -> Any:
    """Return the published config of a size of RTMDet."""
    return stock_config(NANO_RECIPE if size == "nano" else stock.DET[size].base)


def build(config: Any, *, device: str = "meta") -> Any:
    import torch
    from mmengine.registry import MODELS, DefaultScope

    scope = DefaultScope.overwrite_default_scope(config.default_scope)
    with scope, torch.device(device):
        return MODELS.build(config.model)


def emit(data: Path, out: Path, **options: Any) -> tuple[Any, Any]:
    said = RecipeOptions.model_validate(options)
    pair = emit_pair(data, CAR8, said, out, overwrite=True, machine=REFERENCE)
    return load(pair.det), load(pair.pose)


@pytest.mark.parametrize("size", DET_SIZES)
def test_the_constants_of_rtmdet_are_those_of_the_installed_recipe(size: DetSize) -> None:
    ours, theirs = stock.DET[size], det_recipe(size)
    steps = {step["type"]: step for step in theirs.train_pipeline}
    assert theirs.base_lr == stock.BASE_LR
    assert theirs.param_scheduler[0]["end"] == stock.WARMUP_ITERS
    assert "8xb32" in ours.base
    assert steps["RandomResize"]["ratio_range"] == ours.scales
    assert steps["CachedMosaic"]["img_scale"] == ours.input_size
    assert ("init_cfg" in theirs.model.backbone) == ours.pretrained
    ema = {"type": "EMAHook", "ema_type": "ExpMomentumEMA", "momentum": 0.0002, "update_buffers": True, "priority": 49}
    assert theirs.custom_hooks[0] == ema


@pytest.mark.parametrize("size", POSE_SIZES)
def test_the_constants_of_rtmpose_are_those_of_the_installed_recipe(size: PoseSize) -> None:
    ours, theirs = stock.POSE[size], stock_config(stock.POSE[size].base)
    assert theirs.base_lr == stock.BASE_LR
    assert theirs.param_scheduler[0]["end"] == stock.WARMUP_ITERS
    assert theirs.auto_scale_lr.base_batch_size == stock.BATCH["pose"]
    assert theirs.codec.sigma == stock.codec_sigma(theirs.codec.input_size)
    assert theirs.codec.input_size == stock.POSE_INPUT
    assert ("EMAHook" in [hook["type"] for hook in theirs.custom_hooks]) == ours.ema


def test_the_constants_of_rtmpose_x_are_those_of_its_only_recipe() -> None:
    theirs = stock_config(X_RECIPE)
    backbone = theirs.model.backbone
    assert (backbone.deepen_factor, backbone.widen_factor) == (stock.X_DEEPEN, stock.X_WIDEN)
    assert theirs.model.head.in_channels == stock.X_CHANNELS
    assert backbone.init_cfg.checkpoint == stock.X_CHECKPOINT
    assert theirs.codec.sigma == stock.codec_sigma(theirs.codec.input_size)


def test_each_of_the_30_pairs_loads(data: Path, tmp_path: Path) -> None:
    texts: dict[str, bytes] = {}
    for det_size in DET_SIZES:
        for pose_size in POSE_SIZES:
            options = RecipeOptions.model_validate({"det": {"size": det_size}, "pose": {"size": pose_size}})
            pair = emit_pair(data, CAR8, options, tmp_path / f"{det_size}-{pose_size}")
            for path in (pair.det, pair.pose):
                if path.name not in texts:
                    texts[path.name] = path.read_bytes()
                    assert load(path).model.type in ("RTMDet", "TopdownPoseEstimator")
                # The same bytes as the config loaded here and built below: one half does not depend on the other.
                assert path.read_bytes() == texts[path.name]
    assert len(texts) == 11


@pytest.mark.parametrize("size", DET_SIZES)
def test_rtmdet_builds_with_the_stock_sizes_parameters(data: Path, tmp_path: Path, size: DetSize) -> None:
    as_stock = {"input_size": 640, "augmentation": "strong", "load_from": "none"}
    config, _ = emit(data, tmp_path, det={"size": size, **as_stock})
    theirs = det_recipe(size).model
    for part, keys in {
        "backbone": ("deepen_factor", "widen_factor", "use_depthwise", "init_cfg"),
        "neck": ("in_channels", "out_channels", "num_csp_blocks", "use_depthwise"),
        "bbox_head": ("in_channels", "feat_channels", "exp_on_reg", "share_conv", "use_depthwise"),
    }.items():
        for key in keys:
            assert config.model[part].get(key) == theirs[part].get(key), f"{part}.{key}"
    model = build(config)
    assert model.bbox_head.num_classes == model.bbox_head.cls_out_channels == 1
    assert {type(m).__name__ for m in model.modules() if "Norm" in type(m).__name__} == {"BatchNorm2d"}
    if size == "nano":
        theirs.bbox_head.num_classes = 1
        ours, published = (dict(m.state_dict()) for m in (model, build(det_recipe(size))))
        assert {name: w.shape for name, w in ours.items()} == {name: w.shape for name, w in published.items()}
        return
    # Inherited unchanged; mmengine marks entries from another package.
    inherited = [{k: v for k, v in step.items() if k != "_scope_"} for step in config.train_pipeline]
    assert inherited == det_recipe(size).train_pipeline


@pytest.mark.parametrize("size", POSE_SIZES)
def test_rtmpose_builds_with_the_stock_sizes_parameters(data: Path, tmp_path: Path, size: PoseSize) -> None:
    _, config = emit(data, tmp_path, pose={"size": size, "input_size": 1024, "augmentation": "strong"})
    theirs = stock_config(X_RECIPE if size == "x" else stock.POSE[size].base).model
    for key in ("deepen_factor", "widen_factor", "init_cfg"):
        assert config.model.backbone[key] == theirs.backbone[key]
    assert config.model.head.in_channels == theirs.head.in_channels
    assert config.model.head.in_featuremap_size == (32, 32)
    model = build(config)
    assert model.head.out_channels == CAR8.num_keypoints
    assert model.head.cls_x.out_features == 2048
    assert "SyncBatchNorm" not in {type(m).__name__ for m in model.modules()}


@pytest.mark.parametrize("size", DET_SIZES)
def test_restated_pipelines_differ_from_stock_only_in_the_size(data: Path, tmp_path: Path, size: DetSize) -> None:
    config, _ = emit(data, tmp_path, det={"size": size, "input_size": 320, "augmentation": "strong"})
    theirs = det_recipe(size)
    halved = {(640, 640): (320, 320), (1280, 1280): (640, 640)} if size != "nano" else {}
    for name in ("train_pipeline", "train_pipeline_stage2", "test_pipeline"):
        expected = [
            {key: halved.get(value, value) if isinstance(value, tuple) else value for key, value in step.items()}
            for step in theirs[name]
        ]
        if size == "nano" and name == "test_pipeline":
            # MMDet's own recipes load the boxes, MMPose's demo does not.
            expected.insert(-1, {"type": "LoadAnnotations", "with_bbox": True})
        for step in expected:
            step.pop("backend_args", None)
        assert [dict(step) for step in config[name]] == expected
    assert config.train_dataloader.dataset.pipeline == config.train_pipeline
    assert config.custom_hooks[1].switch_pipeline == config.train_pipeline_stage2
    assert config.val_dataloader.dataset.pipeline == config.test_dataloader.dataset.pipeline == config.test_pipeline


@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_the_smallest_pairs_run_forward(data: Path, tmp_path: Path, size: str) -> None:
    import torch

    shape = {"input_size": "64x96", "backbone": "none"}
    det_config, pose_config = emit(data, tmp_path, det={"size": size, **shape}, pose={"size": "t", **shape})
    det, pose = build(det_config, device="cpu").eval(), build(pose_config, device="cpu").eval()
    image = torch.rand(1, 3, 96, 64)
    with torch.no_grad():
        scores, boxes = det(image, mode="tensor")
        x, y = pose(image, None, mode="tensor")
    assert [tuple(level.shape) for level in scores] == [(1, 1, 12, 8), (1, 1, 6, 4), (1, 1, 3, 2)]
    assert boxes[0].shape == (1, 4, 12, 8)
    # One bin of SimCC per pixel: the run is short.
    assert (x.shape, y.shape) == ((1, 8, 64), (1, 8, 96))


def test_mmpose_reads_the_skeleton_from_the_config(data: Path, tmp_path: Path) -> None:
    import numpy as np
    from mmengine.registry import DATASETS, METRICS, DefaultScope

    _, config = emit(data, tmp_path, pose={"input_size": 64, "repeat": 3, "augmentation": "strong"})
    with DefaultScope.overwrite_default_scope("mmpose"):
        train = DATASETS.build(config.train_dataloader.dataset)
        val = DATASETS.build(config.val_dataloader.dataset)
        metric = METRICS.build(config.val_evaluator)
        np.random.seed(0)
        sample = train[0]
    for meta in (train.metainfo, val.metainfo):
        assert tuple(meta["keypoint_id2name"].values()) == CAR8.names
        assert tuple(meta["flip_indices"]) == CAR8.flip_indices
        assert tuple(meta["sigmas"]) == pytest.approx(CAR8.sigmas)
        assert tuple(meta["dataset_keypoint_weights"]) == pytest.approx(CAR8.joint_weights)
        assert [tuple(link) for link in meta["skeleton_links"]] == list(CAR8.edges)
    assert (len(train), len(val)) == (3 * 8, 4)
    assert sample["inputs"].shape == (3, 64, 64)
    assert sample["data_samples"].gt_instances.keypoints.shape == (1, 8, 2)
    assert sample["data_samples"].gt_instance_labels.keypoint_x_labels.shape == (1, 8, 128)
    assert metric.use_area
    assert val.bbox_file is None


def test_stock_mmpose_builds_training_that_does_not_mirror(tmp_path: Path) -> None:
    from mmengine.registry import DATASETS, DefaultScope

    names = [point.name for point in CAR8.keypoints]
    unnamed = draft_skeleton("unnamed", [f"kpt_{number}" for number in range(8)], "car").skeleton
    partly = draft_skeleton("partly", [*names[:6], *(f"kpt_{number}" for number in range(2))], "car").skeleton
    once = RecipeOptions.model_validate({"pose": {"repeat": 1}})
    for skeleton in (unnamed, partly):
        data = write_coco(tmp_path / skeleton.name / "data", skeleton=skeleton, images=True)
        pair = emit_pair(data, skeleton, once, tmp_path / skeleton.name, machine=REFERENCE)
        det, config = load(pair.det), load(pair.pose)
        with DefaultScope.overwrite_default_scope("mmpose"):
            train = DATASETS.build(config.train_dataloader.dataset)
        assert "RandomFlip" not in {type(step).__name__ for step in train.pipeline.transforms}
        assert tuple(train.metainfo["flip_indices"]) == skeleton.flip_indices
        assert build(config).test_cfg["flip_test"] is False
        # A mirrored car is a car.
        assert "RandomFlip" in {step["type"] for step in det.train_pipeline}


def test_mmpose_scores_with_the_skeletons_sigmas(data: Path, tmp_path: Path) -> None:
    import numpy as np
    from mmengine.registry import DATASETS, METRICS, DefaultScope

    def ap(sigma: float) -> float:
        skeleton = CAR8.model_copy(update={"sigmas": (sigma,) * 8})
        pair = emit_pair(data, skeleton, RecipeOptions(), tmp_path, overwrite=True, machine=REFERENCE)
        config = load(pair.pose)
        with DefaultScope.overwrite_default_scope("mmpose"):
            val = DATASETS.build(config.val_dataloader.dataset)
            metric = METRICS.build(config.val_evaluator)
        metric.dataset_meta = val.metainfo
        for index in range(len(val)):
            info = val.get_data_info(index)
            shift = 0.04 * float(np.sqrt(info["area"]))
            instances = {
                "bboxes": info["bbox"],
                "bbox_scores": np.ones(1),
                "keypoints": info["keypoints"] + np.array([shift, 0.0]),
                "keypoint_scores": np.ones((1, 8)),
            }
            ids = {"id": info["id"], "img_id": info["img_id"], "category_id": 1, "gt_instances": {"bbox_scores": [1]}}
            metric.process([], [{**ids, "pred_instances": instances}])
        return float(metric.evaluate(len(val))["coco/AP"])

    # Off by 4 % of sqrt(area): exp(-(0.04 / sigma)^2 / 8) is 0.73 at 0.025, above 0.95 from 0.0625 on.
    assert ap(0.1) == pytest.approx(1.0)
    assert ap(0.025) == pytest.approx(0.5)


def test_mmdet_keeps_the_cars_and_the_images_without_any(tmp_path: Path) -> None:
    from mmengine.registry import DATASETS, DefaultScope

    data = write_coco(tmp_path / "cars", train=5, empty=2, images=True)
    config, _ = emit(data, tmp_path, det={"input_size": 64})
    with DefaultScope.overwrite_default_scope("mmdet"):
        train = DATASETS.build(config.train_dataloader.dataset)
        samples = [train[index] for index in range(5)]
    assert train.metainfo["classes"] == ("car",)
    assert sum(not train.get_data_info(index)["instances"] for index in range(5)) == 2
    assert {tuple(sample["inputs"].shape) for sample in samples} == {(3, 64, 64)}


def test_mmdet_repeats_few_images_within_an_epoch(data: Path, tmp_path: Path) -> None:
    from mmengine.registry import DATASETS, DefaultScope

    config, _ = emit(data, tmp_path, det={"input_size": 64, "repeat": 5})
    with DefaultScope.overwrite_default_scope("mmdet"):
        train = DATASETS.build(config.train_dataloader.dataset)
        samples = [train[index] for index in (0, 4, 19)]
    assert (type(train).__name__, len(train)) == ("RepeatDataset", 20)
    assert {sample["data_samples"].img_path for sample in samples[:2]} == {samples[0]["data_samples"].img_path}
    assert {tuple(sample["inputs"].shape) for sample in samples} == {(3, 64, 64)}


def test_checkpoints_and_memory_are_those_of_the_installed_model_zoos() -> None:
    det = yaml.safe_load(_installed("mmdet::rtmdet/metafile.yml").read_text(encoding="utf-8"))
    known = {model["Name"]: model for model in det["Models"]}
    assert "nano" not in "".join(known)
    for size in DET_SIZES[1:]:
        theirs = known[f"rtmdet_{size}_8xb32-300e_coco"]
        assert stock.DET[size].coco == theirs["Weights"]
        assert stock.DET[size].memory == theirs["Metadata"]["Training Memory (GB)"]
    place = "mmpose::body_2d_keypoint/rtmpose/coco/rtmpose_coco.yml"
    pose = yaml.safe_load(_installed(place).read_text(encoding="utf-8"))
    weights = {model["Name"]: model["Weights"] for model in pose["Models"]}
    for pose_size in POSE_SIZES:
        assert stock.POSE[pose_size].coco == weights.get(f"rtmpose-{pose_size}_8xb256-420e_coco-256x192")


def test_the_config_survives_being_written_and_read_back(data: Path, tmp_path: Path) -> None:
    for config in emit(data, tmp_path / "a"):
        dumped = tmp_path / "dumped.py"
        config.dump(dumped)
        assert load(dumped).to_dict() == config.to_dict()
