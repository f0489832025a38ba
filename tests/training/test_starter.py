"""Training from the starter weights: of cars, of another object, and when a download fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posetools.core.categories import Categories
from posetools.core.skeleton import load_skeleton
from posetools.core.stages import STAGES, Stage
from posetools.datasets.convert import ConvertRequest, convert
from posetools.errors import InputError, RequestError
from posetools.recipes.emit import ChosenPair, emit_pair
from posetools.recipes.options import RecipeOptions
from posetools.recipes.starter import STARTERS
from posetools.training.recipe import emit_fitting
from posetools.training.request import TrainRequest
from posetools.training.train import train
from tests.cli.run import run
from tests.road_object import SKELETON_YAML, write_object_set
from tests.tiny_runs import Recorder, Run, Tiny

pytestmark = pytest.mark.train

CAR8 = load_skeleton("car8")
# The learning rate of 0 leaves what was loaded as it was.
STILL = ("optim_wrapper.optimizer.lr=0.0", "param_scheduler=None")
SMALL = {"epochs": 1, "stage2_epochs": 1, "repeat": 1, "batch_size": 2}


def _options(**shared: Any) -> RecipeOptions:
    sizes = {stage: {"size": starter.size, **SMALL, **shared} for stage, starter in STARTERS.items()}
    return RecipeOptions.model_validate({"workers": 0, **sizes})


def _emitted(data: Path, out: Path) -> ChosenPair:
    return emit_pair(data, None, _options(load_from="starter"), out)


def _trained(stage: Stage, config: Path, work_dir: Path) -> tuple[Recorder, dict[str, Any], dict[str, Any]]:
    """Return what was said, the tensors of the file, and those of the trained model."""
    from posetools.mm.checkpoint import load_checkpoint

    told = Recorder()
    request = TrainRequest(stage=stage, config=config, work_dir=work_dir, device="cpu", cfg_options=STILL)
    result = train(request, told)
    given, then = (load_checkpoint(path)["state_dict"] for path in (STARTERS[stage].path, result.last))
    return told, given, then


def _differing(given: dict[str, Any], then: dict[str, Any], start: str = "") -> list[str]:
    import torch

    # Batch normalization statistics change during the run.
    names = [name for name in then if name.startswith(start) and name.endswith((".weight", ".bias", ".g"))]
    assert len(names) > 100
    return [name for name in names if not torch.equal(given[name].float(), then[name])]


@pytest.mark.parametrize("stage", STAGES)
def test_a_car_gets_the_whole_model(stage: Stage, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    pair = _emitted(tiny.data, tmp_path / "configs")
    told, given, then = _trained(stage, pair.configs[stage], tmp_path / "run")
    total = sum(not name.endswith("num_batches_tracked") for name in then)
    assert f"weights {STARTERS[stage].path}: {total} of {total} tensors fit" in told.lines
    assert _differing(given, then) == []


def test_another_object_gets_the_backbone_and_what_else_fits(tmp_path: Path) -> None:
    skeleton, labelme, data = tmp_path / "critter.yaml", tmp_path / "labelme", tmp_path / "critters"
    skeleton.write_text(SKELETON_YAML, encoding="utf-8")
    write_object_set(labelme, 6, 3, (96, 80))
    assert convert(ConvertRequest(sources=(labelme,), out=data, skeleton=str(skeleton), val=0.34)).written
    pair = _emitted(data, tmp_path / "configs")
    told, given, then = _trained("pose", pair.pose, tmp_path / "run")
    (plan,) = (line for line in told.lines if line.startswith("weights "))
    first, reshaped = plan.splitlines()
    total = sum(not name.endswith("num_batches_tracked") for name in then)
    assert first == f"weights {STARTERS['pose'].path}: {total - 2} of {total} tensors fit"
    assert reshaped.startswith("  different shape, not loaded: head.mlp.1 ")
    assert _differing(given, then, "backbone.") == []


def test_train_may_start_from_them_too_if_the_model_has_their_size(tiny: Tiny, tmp_path: Path) -> None:
    told = Recorder()
    request = TrainRequest(stage="pose", config=tiny.pose, work_dir=tmp_path / "run", weights="starter", epochs=1)
    train(request, told)
    assert any(line.startswith(f"weights {STARTERS['pose'].path}: ") for line in told.lines)

    larger = emit_pair(tiny.data, CAR8, RecipeOptions.model_validate({"pose": {"size": "s"}}), tmp_path / "larger")
    with pytest.raises(RequestError) as caught:
        train(TrainRequest(stage="pose", config=larger.pose, work_dir=tmp_path / "other", weights="starter"))
    assert f"{larger.pose}: its model must be RTMPose-t for --weights starter, got another size" in str(caught.value)
    assert f"posetools config {tiny.data} --det tiny --pose t --pretrained starter" in str(caught.value)
    assert not (tmp_path / "other").exists()


def test_without_configs_train_writes_those_that_they_fit(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("train", "--stage", "pose", tiny.data, "--pretrained", "starter", "--dry-run")
    assert done.status == 0, done.err
    assert f"weights {STARTERS['pose'].path}: " in done.words
    # Each stage has its own file. This device stops both before they start.
    done = run("train", "--stage", "all", tiny.data, "--weights", "starter", "--device", "cuda:99")
    assert done.status == 2
    for name in ("rtmdet_tiny_car8.py", "rtmpose-t_car8.py"):
        assert f"configs/{name}: training is refused, for one problem: 1. --device cuda:99" in done.words
    done = run("train", "--stage", "det", tiny.data, "--pretrained", "coco")
    assert done.status == 2
    assert "coco and imagenet are options of `posetools config --pretrained`" in done.words


@pytest.mark.parametrize("is_cached", [False, True])
def test_with_minutes_they_replace_weights_that_cannot_be_downloaded(
    is_cached: bool, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy that refuses every request.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub/checkpoints"
    cache.mkdir(parents=True)
    options = _options().model_copy(update={"minutes": 1.0})
    for name in _stock_files(emit_pair(tiny.data, CAR8, options, tmp_path / "stock")) if is_cached else ():
        (cache / name).touch()
    told = Recorder()
    pair = emit_fitting(tiny.data, Categories.of(CAR8), options, tmp_path / "configs", listener=told)
    texts = [path.read_text(encoding="utf-8") for path in (pair.det, pair.pose)]
    assert ["'weights' / " in text for text in texts] == [not is_cached] * 2
    said = [line for line in told.lines if "both models start from the starter weights in posetools" in line]
    assert len(said) == (not is_cached)


def test_stated_weights_stay_even_if_they_cannot_be_downloaded(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    options = _options(load_from="coco").model_copy(update={"minutes": 1.0})
    pair = emit_fitting(tiny.data, Categories.of(CAR8), options, tmp_path / "configs")
    assert "load_from = 'https://" in pair.det.read_text(encoding="utf-8")


def _stock_files(pair: ChosenPair) -> list[str]:
    from posetools.mm.configs import load_config
    from posetools.mm.weights import weights_sources

    return [
        one.source.rpartition("/")[2] for path in (pair.det, pair.pose) for one in weights_sources(load_config(path))
    ]


def test_the_files_are_half_precision_and_say_what_they_are(pose_run: Run, tmp_path: Path) -> None:
    import torch

    from tools.starter import save

    save(pose_run.checkpoint, pose_run.config, tmp_path / "own.pth")
    for path in (tmp_path / "own.pth", *(starter.path for starter in STARTERS.values())):
        content = torch.load(path, weights_only=True)
        assert set(content) == {"state_dict", "meta"}
        assert set(content["meta"]) == {"posetools_version", "skeleton", "epochs", "iterations", "seed", "input_size"}
        assert content["meta"]["skeleton"].startswith("name: car8\n")
        large = [tensor for tensor in content["state_dict"].values() if tensor.dim() > 1]
        assert {tensor.dtype for tensor in large} == {torch.float16}
        assert all(bool(torch.isfinite(tensor).all()) for tensor in content["state_dict"].values())
    before = torch.load(pose_run.checkpoint, weights_only=True)["state_dict"]
    after = torch.load(tmp_path / "own.pth", weights_only=True)["state_dict"]
    assert list(before) == list(after)
    assert all(
        torch.allclose(after[name].to(tensor.dtype), tensor, rtol=1e-3, atol=1e-6) for name, tensor in before.items()
    )


def test_weights_too_large_for_half_precision_are_refused(pose_run: Run, tmp_path: Path) -> None:
    import torch

    from posetools.mm.checkpoint import load_checkpoint
    from tools.starter import save

    content = load_checkpoint(pose_run.checkpoint)
    content["state_dict"]["head.final_layer.weight"][0] = 1e5
    torch.save(content, tmp_path / "large.pth")
    with pytest.raises(InputError, match=r"head\.final_layer\.weight: weights must be below 65,504"):
        save(tmp_path / "large.pth", pose_run.config, tmp_path / "own.pth")
    assert not (tmp_path / "own.pth").exists()
