"""A published checkpoint is small, plain, reproducible, and predicts bit for bit as the original."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from posetools import __version__
from posetools.core.skeleton import load_skeleton, read_skeleton
from posetools.errors import InputError, OutputError, RequestError
from posetools.exporting.publish import PublishResult, publish
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.run_log import read_run
from tests.cli.run import run
from tests.mm.test_checkpoint import make_runner
from tests.tiny_runs import Run

pytestmark = pytest.mark.train

BOXES = np.array([[5.0, 8, 40, 60], [30, 10, 95, 79]])


def image() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 255, (80, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def det(det_run: Run, tmp_path_factory: pytest.TempPathFactory) -> PublishResult:
    return publish(det_run.checkpoint, tmp_path_factory.mktemp("published") / "new" / "cars-rtmdet.pth")


@pytest.fixture(scope="module")
def pose(pose_run: Run, tmp_path_factory: pytest.TempPathFactory) -> PublishResult:
    return publish(pose_run.checkpoint, tmp_path_factory.mktemp("published") / "cars-rtmpose.pth")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pth"


def save(path: Path, **changes: Any) -> Path:
    """Write a checkpoint of a model of one layer."""
    import torch

    content = {"state_dict": {"head.weight": torch.ones(3, 4), "head.bias": torch.zeros(3)}, "meta": {"epoch": 7}}
    torch.save({key: value for key, value in (content | changes).items() if value is not None}, path)
    return path


def test_the_file_is_named_by_its_content_and_small(det_run: Run, det: PublishResult) -> None:
    content = det.path.read_bytes()
    assert det.path.name == f"cars-rtmdet-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    assert det.sha256 == hashlib.sha256(content).hexdigest()
    assert (det.size, det.size_before) == (len(content), det_run.checkpoint.stat().st_size)
    assert det.size < det.size_before / 2
    assert list(det.path.parent.iterdir()) == [det.path]
    assert set(det.dropped) == {"optimizer", "param_schedulers", "message_hub", "ema_state_dict"}
    assert det.dropped["optimizer"] > det.size
    assert (det.stage, det.averaged, det.config) == ("det", True, det_run.work_dir / det_run.config.name)


def test_torch_alone_loads_it_and_finds_plain_values_only(det: PublishResult, pose: PublishResult) -> None:
    # In a new process: this one has allowed the classes in mmengine's checkpoints.
    program = """
import sys, torch
plain = (str, int, float, bool, type(None))
def check(value, place):
    if isinstance(value, dict):
        assert type(value) is dict, (place, type(value))
        for key, part in value.items():
            assert type(key) in plain, (place, key)
            check(part, f"{place}.{key}")
    elif isinstance(value, (list, tuple)):
        for part in value:
            check(part, place)
    else:
        assert type(value) in plain, (place, type(value))
for path in sys.argv[1:]:
    content = torch.load(path, weights_only=True)
    assert set(content) == {"state_dict", "meta"}
    check(content["meta"], "meta")
    assert all(type(v) is torch.Tensor and v.device.type == "cpu" for v in content["state_dict"].values())
assert "mmengine" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(det.path), str(pose.path)], check=True)


def test_it_says_what_belongs_to_the_weights(pose_run: Run, pose: PublishResult, tmp_path: Path) -> None:
    original = load_checkpoint(pose_run.checkpoint)["meta"]
    meta = load_checkpoint(pose.path)["meta"]
    assert meta == pose.meta
    assert meta["cfg"] == original["cfg"]
    assert (meta["epoch"], meta["posetools_version"]) == (2, __version__)
    assert meta["metrics"] == json.loads((pose_run.work_dir / "metrics.json").read_text())["last"]["metrics"]
    assert meta["metrics"]["coco/AP (L)"] is None
    skeleton = tmp_path / "skeleton.yaml"
    skeleton.write_text(meta["skeleton"])
    assert read_skeleton(skeleton) == load_skeleton("car8")
    assert meta["dataset_meta"]["keypoint_id2name"] == original["dataset_meta"]["keypoint_id2name"]
    assert meta["dataset_meta"]["keypoint_colors"] == original["dataset_meta"]["keypoint_colors"]
    (note,) = pose.notes
    assert "coco/AP was 0.000 at all 2 evaluations" in note


def test_of_the_best_checkpoint_it_has_the_best_score(pose_run: Run, tmp_path: Path) -> None:
    done = publish(next(pose_run.work_dir.glob("best_*.pth")), tmp_path / "best.pth")
    score = json.loads((pose_run.work_dir / "metrics.json").read_text())["best"]["score"]
    assert done.meta["metrics"] == {"coco/AP": score}


def test_of_another_checkpoint_of_the_run_it_has_no_metrics(pose_run: Run, tmp_path: Path) -> None:
    done = publish(pose_run.work_dir / "epoch_1.pth", tmp_path / "first.pth")
    assert "metrics" not in done.meta
    assert f"{pose_run.work_dir / 'metrics.json'} has no metrics of epoch_1.pth" in done.notes[0]
    report = tmp_path / "eval.json"
    report.write_text('{"oks": {"AP": 0.5}}')
    given = publish(pose_run.work_dir / "epoch_1.pth", tmp_path / "first.pth", metrics=report)
    assert given.meta["metrics"] == {"oks": {"AP": 0.5}}
    (note,) = given.notes
    assert "coco/AP was 0.000 at all 2 evaluations" in note


def test_the_averages_are_kept(det_run: Run, det: PublishResult) -> None:
    import torch

    original, published = load_checkpoint(det_run.checkpoint), load_checkpoint(det.path)["state_dict"]
    name = "bbox_head.rtm_cls.0.weight"
    assert torch.equal(published[name], original["state_dict"][name])
    # mmengine swaps the two when it saves: this entry has the trained weights.
    assert not torch.equal(published[name], original["ema_state_dict"][f"module.{name}"])


def test_which_of_the_two_are_the_averages(tmp_path: Path) -> None:
    from mmengine.hooks import EMAHook

    runner = make_runner(tmp_path, 2, "averaged")
    runner.register_hook(EMAHook(momentum=0.5))
    runner.train()
    content = load_checkpoint(tmp_path / "iter_2.pth")
    # With this momentum the weight is 0.9, then 0.71; publish writes the average of both.
    assert float(content["ema_state_dict"]["module.weight"]) == pytest.approx(0.71)
    done = publish(tmp_path / "iter_2.pth", tmp_path / "out.pth")
    assert float(load_checkpoint(done.path)["state_dict"]["weight"]) == pytest.approx(0.805)
    assert done.averaged


def test_every_weight_and_the_versions_of_the_modules_are_the_originals(pose_run: Run, pose: PublishResult) -> None:
    import torch

    original, published = (load_checkpoint(path)["state_dict"] for path in (pose_run.checkpoint, pose.path))
    assert list(original) == list(published)
    assert all(torch.equal(original[name], published[name]) for name in original)
    assert published._metadata == dict(original._metadata)


def test_a_detector_predicts_the_same_bits(det_run: Run, det: PublishResult) -> None:
    from mmdet.apis import inference_detector, init_detector

    ours = [Detector(det_run.config, path)([image()])[0] for path in (det_run.checkpoint, det.path)]
    assert len(ours[0].scores) > 0
    stock = []
    for path in (det_run.checkpoint, det.path):
        model = init_detector(str(det_run.config), str(path), device="cpu")
        assert model.dataset_meta["classes"] == ("car",)
        stock.append(inference_detector(model, image()).pred_instances)
    for a, b in ((ours[0].boxes, ours[1].boxes), (ours[0].scores, ours[1].scores), (stock[0].bboxes, stock[1].bboxes)):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_a_pose_estimator_predicts_the_same_bits(pose_run: Run, pose: PublishResult) -> None:
    from mmpose.apis import inference_topdown, init_model

    both = (pose_run.checkpoint, pose.path)
    ours = [PoseEstimator(pose_run.config, path).estimate([image()], [BOXES])[0] for path in both]
    assert ours[0].keypoints.tobytes() == ours[1].keypoints.tobytes()
    assert ours[0].scores.tobytes() == ours[1].scores.tobytes()
    models = [init_model(str(pose_run.config), str(path), device="cpu") for path in both]
    stock = [inference_topdown(model, image(), BOXES.astype(np.float32)) for model in models]
    for a, b in zip(*stock, strict=True):
        assert a.pred_instances.keypoints.tobytes() == b.pred_instances.keypoints.tobytes()
    drawn = [drawn_by_mmpose(model, of_model[0]) for model, of_model in zip(models, stock, strict=True)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], image())


def drawn_by_mmpose(model: Any, sample: Any) -> npt.NDArray[np.uint8]:
    """Draw with the stock visualizer, which reads colors and links from the checkpoint's meta."""
    from mmpose.visualization import PoseLocalVisualizer

    visualizer = PoseLocalVisualizer()
    visualizer.set_dataset_meta(model.dataset_meta)
    drawn: npt.NDArray[np.uint8] = visualizer.add_datasample(
        "picture", image(), sample, draw_gt=False, kpt_thr=0.0, show=False
    )
    return drawn


def test_the_same_checkpoint_gives_the_same_bytes(pose_run: Run, pose: PublishResult, tmp_path: Path) -> None:
    # Also from another process, name and time; publishing a published file changes nothing either.
    program = (
        "import sys; from pathlib import Path; from posetools.exporting.publish import publish;"
        "print(publish(Path(sys.argv[1]), Path(sys.argv[2])).sha256)"
    )
    other = tmp_path / "elsewhere" / "other.pth"
    done = subprocess.run(
        [sys.executable, "-c", program, str(pose_run.checkpoint), str(other)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.split()[-1] == pose.sha256
    again = publish(pose.path, tmp_path / "again.pth")
    assert again.sha256 == pose.sha256
    assert again.dropped == {}


def test_a_file_of_that_name_is_written_over_only_when_asked(path: Path, tmp_path: Path) -> None:
    save(path)
    out = tmp_path / "out.pth"
    done = publish(path, out)
    with pytest.raises(RequestError, match=rf"{done.path}: exists already, with the same .*\n  fix: use --overwrite"):
        publish(path, out)
    done.path.write_bytes(b"damaged")
    assert publish(path, out, overwrite=True).path.stat().st_size == done.size


@pytest.mark.parametrize("name", ["out", "out.pt", "folder.pth", ".pth"])
def test_a_name_that_is_none_of_a_checkpoint_is_refused(path: Path, tmp_path: Path, name: str) -> None:
    save(path)
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(RequestError, match=r"--out FILE must be a file name ending in \.pth, got "):
        publish(path, tmp_path / name)


def test_what_cannot_be_written_leaves_nothing(path: Path, tmp_path: Path) -> None:
    save(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"out-[0-9a-f]{8}\.pth: cannot be written: "):
        publish(path, tmp_path / "file" / "out.pth")
    assert {entry.name for entry in tmp_path.iterdir()} == {"model.pth", "file"}


def not_a_number(rows: int) -> Any:
    import torch

    return {"head.weight": torch.tensor([[1.0, float("inf")], [float("nan"), 0.0]][:rows]), "steps": torch.tensor(3)}


REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], str, str]] = {
    "no weights": (lambda: {"state_dict": None}, "state_dict", "must have the weights of a model, got meta"),
    "empty": (lambda: {"state_dict": {}}, "state_dict", "must have the weights of a model"),
    "averages alone": (
        lambda: {"state_dict": None, "ema_state_dict": {"module.head.weight": 1}},
        "state_dict",
        "must have the weights of a model, got ema_state_dict, meta\n  ema_state_dict alone may or may not",
    ),
    "no tensor": (lambda: {"state_dict": {"a": [1.0]}}, "state_dict.a", "value must be a tensor, got 'list'"),
    "diverged": (
        lambda: {"state_dict": not_a_number(2)},
        "state_dict.head.weight",
        "weights must be finite numbers, got 2 of 4 NaN or infinite\n"
        "  fix: publish an earlier checkpoint: training diverged",
    ),
    "infinite": (lambda: {"state_dict": not_a_number(1)}, "state_dict.head.weight", "got 1 of 2 NaN or infinite"),
    "meta that is none": (lambda: {"meta": [1]}, "meta", "value must be a dict, got 'list'"),
    "meta with bytes": (
        lambda: {"meta": {"dataset_meta": {"a": [b"x"]}}},
        "meta.dataset_meta.a[0]",
        "value must be a plain one (text, number, list, dict), got 'bytes'",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_checkpoint_that_is_none_is_refused(path: Path, tmp_path: Path, kind: str) -> None:
    changes, place, problem = REFUSED[kind]
    save(path, **changes())
    with pytest.raises(InputError) as caught:
        publish(path, tmp_path / "out.pth")
    assert str(caught.value).startswith(f"{path}: {place}: ")
    assert problem in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_metrics_that_are_none_are_refused(path: Path, tmp_path: Path) -> None:
    save(path)
    report = tmp_path / "eval.json"
    report.write_text("[1]")
    with pytest.raises(InputError, match=r"eval\.json: metrics must be a JSON object, got 'list'"):
        publish(path, tmp_path / "out.pth", metrics=report)
    with pytest.raises(InputError, match=r"gone\.json: file of metrics does not exist"):
        publish(path, tmp_path / "out.pth", metrics=tmp_path / "gone.json")


def test_a_file_that_would_run_code_is_refused(path: Path, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'flag'}",)

    save(path, meta={"epoch": Hostile()})
    with pytest.raises(InputError, match="so that loading it runs no code"):
        publish(path, tmp_path / "out.pth")
    assert list(tmp_path.iterdir()) == [path]


def test_a_bare_checkpoint_says_what_is_missing(path: Path, tmp_path: Path) -> None:
    done = publish(save(path), tmp_path / "out.pth")
    assert [note.partition(":")[0] for note in done.notes] == ["no skeleton", "no metrics", "no config"]
    assert (done.stage, done.config, done.averaged) == (None, None, False)
    assert done.meta == {"epoch": 7, "posetools_version": __version__}


def test_the_skeleton_comes_from_the_meta_when_no_file_has_it(pose_run: Run, tmp_path: Path) -> None:
    alone = tmp_path / "alone.pth"
    shutil.copyfile(pose_run.checkpoint, alone)
    text = publish(alone, tmp_path / "out.pth").meta["skeleton"]
    file = tmp_path / "skeleton.yaml"
    file.write_text(text)
    # MMPose's meta has no template.
    assert read_skeleton(file) == load_skeleton("car8").model_copy(update={"template": None})


def views() -> Iterator[tuple[str, Any]]:
    import torch

    large = torch.arange(100_000.0)
    yield "part", large[10:14]
    yield "turned", torch.arange(6.0).reshape(2, 3).T
    shared = torch.ones(50)
    yield "one", shared
    yield "same", shared
    yield "trained", torch.nn.Parameter(torch.ones(2))
    yield "nothing", torch.zeros(0)


def test_a_part_of_a_tensor_does_not_bring_the_whole_and_shared_ones_stay_shared(path: Path, tmp_path: Path) -> None:
    import torch

    weights = OrderedDict(views())
    done = publish(save(path, state_dict=weights), tmp_path / "out.pth")
    assert done.size < 10_000
    content = torch.load(done.path, weights_only=True)["state_dict"]
    for name, value in weights.items():
        assert torch.equal(content[name], value)
    assert content["one"].data_ptr() == content["same"].data_ptr()
    assert type(content["trained"]) is torch.Tensor
    assert {name.partition("/")[0] for name in zipfile.ZipFile(done.path).namelist()} == {"archive"}


def test_on_the_command_line_and_evaluated_with_the_config_in_it(
    pose_run: Run, pose: PublishResult, tmp_path: Path
) -> None:
    out = tmp_path / "out.pth"
    done = run("publish", pose_run.checkpoint, "--out", out)
    assert (done.status, done.err) == (0, "")
    config = pose_run.work_dir / pose_run.config.name
    assert f"SHA-256 {pose.sha256}" in done.out.splitlines()
    for words in ("as trained; the run has no averages", "message_hub (", "optimizer (", f"{pose.size / 1e6:.1f} MB"):
        assert words in done.words
    file = tmp_path / f"out-{pose.sha256[:8]}.pth"
    assert done.out.splitlines()[-1] == f"evaluate it: posetools eval --stage pose {file} --config {config}"
    again = run("publish", pose_run.checkpoint, "--out", out)
    assert (again.status, again.out) == (2, "")
    assert again.err.startswith(f"error: {file}: exists")

    (tmp_path / "cars.py").write_text(pose.meta["cfg"])
    numbers = []
    for checkpoint, options in ((pose_run.checkpoint, ()), (file, ("--config", tmp_path / "cars.py"))):
        report = tmp_path / "eval.json"
        evaluated = run("eval", "--stage", "pose", checkpoint, *options, "--device", "cpu", "--json", report)
        assert evaluated.status == 0, evaluated.err
        numbers.append(json.loads(report.read_text())["labelled_boxes"])
    assert numbers[0] == numbers[1]


def test_the_logs_of_real_runs_are_read(det_run: Run, pose_run: Run) -> None:
    log = read_run(pose_run.work_dir)
    assert (log.epochs, log.iterations, log.epoch_iterations) == (2, 8, 4)
    assert {"loss", "loss_kpt", "acc_pose", "lr", "time"} <= set(log.training)
    assert {"coco/AP", "coco/AP .5", "coco/AR (L)"} <= set(log.metrics)
    recorded = json.loads((pose_run.work_dir / "metrics.json").read_text())
    assert {tag: curve.last for tag, curve in log.metrics.items()} == recorded["last"]["metrics"]
    assert log.best
    assert (log.best.checkpoint, log.best.score) == (recorded["best"]["checkpoint"], recorded["best"]["score"])
    assert read_run(det_run.work_dir).metrics["coco/bbox_mAP_l"].last is None
