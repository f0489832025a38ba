"""Weights of another model: only what fits is loaded, and the rest is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posetools.errors import RequestError
from posetools.mm.weights import plan_weights
from posetools.training.request import TrainRequest
from posetools.training.train import train
from tests.tiny_runs import Recorder, Run, Tiny

pytestmark = pytest.mark.train

# The learning rate of 0 leaves what was loaded as it was.
STILL = ("optim_wrapper.optimizer.lr=0.0", "param_scheduler=None")


@pytest.fixture(scope="module")
def seventeen(pose_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint like the run's, but with 17 keypoints, one tensor more and one less."""
    import torch

    from posetools.mm.checkpoint import load_checkpoint

    content = load_checkpoint(pose_run.checkpoint)
    state = {
        name: tensor.float() * 0.5 + 0.25 if tensor.is_floating_point() else tensor
        for name, tensor in content["state_dict"].items()
    }
    weight, bias = state["head.final_layer.weight"], state["head.final_layer.bias"]
    state["head.final_layer.weight"] = torch.ones(17, *weight.shape[1:])
    state["head.final_layer.bias"] = torch.ones(17, *bias.shape[1:])
    state["head.extra.weight"] = torch.ones(3)
    del state["head.cls_x.weight"]
    path = tmp_path_factory.mktemp("weights") / "seventeen.pth"
    torch.save({"state_dict": state, "meta": {}}, path)
    return path


def _request(tiny: Tiny, work_dir: Path, **changes: Any) -> TrainRequest:
    options = {"epochs": 1, "device": "cpu", "cfg_options": STILL, **changes}
    return TrainRequest(stage="pose", config=tiny.pose, work_dir=work_dir, **options)


def test_weights_of_other_points_load_in_part_and_it_is_said(tiny: Tiny, seventeen: Path, tmp_path: Path) -> None:
    import torch

    from posetools.mm.checkpoint import load_checkpoint

    told = Recorder()
    train(_request(tiny, tmp_path / "run", weights=str(seventeen)), told)
    given, then = load_checkpoint(seventeen)["state_dict"], load_checkpoint(tmp_path / "run/epoch_1.pth")["state_dict"]
    plan = next(line for line in told.lines if line.startswith(f"weights {seventeen}: "))
    first, *rest = plan.splitlines()
    total = sum(not name.endswith("num_batches_tracked") for name in then)
    assert first == f"weights {seventeen}: {total - 3} of {total} tensors fit"
    assert rest == [
        "  different shape, not loaded: head.final_layer (17 -> 8)",
        "  not in the file, newly initialized: head.cls_x",
        "  not in the model, unused: head.extra",
    ]
    # Everything that fits was loaded; batch normalization statistics change during the run.
    learned = [name for name in then if name.endswith((".weight", ".bias"))]
    fits = [name for name in learned if name in given and given[name].shape == then[name].shape]
    assert len(fits) > 50
    assert [name for name in fits if not torch.allclose(given[name], then[name], rtol=1e-3)] == []
    assert then["head.final_layer.weight"].shape[0] == 8
    assert not bool((then["head.final_layer.weight"] == 1).any())


def test_weights_of_which_nothing_fits_are_refused(tiny: Tiny, det_run: Run, tmp_path: Path) -> None:
    import torch

    from posetools.mm.checkpoint import load_checkpoint

    state = load_checkpoint(det_run.checkpoint)["state_dict"]
    other = tmp_path / "other.pth"
    torch.save({f"net.{name}": tensor for name, tensor in state.items()}, other)
    with pytest.raises(RequestError) as caught:
        train(_request(tiny, tmp_path / "run", weights=str(other)))
    text = str(caught.value)
    assert f"{other}: none of its tensors fits the model: the first of the model is backbone.stem" in text
    assert "the first unused one of the file is net.backbone" in text
    assert "--weights none" in text
    assert not (tmp_path / "run").exists()


def _pretrained(tiny: Tiny, path: Path, checkpoint: Path, prefix: str) -> Path:
    init = f"dict(_delete_=True, type='Pretrained', checkpoint={str(checkpoint)!r}, prefix={prefix!r})"
    path.write_text(f"_base_ = [{str(tiny.pose)!r}]\nmodel = dict(backbone=dict(init_cfg={init}))\n")
    return path


def test_a_pretrained_backbone_is_reported_too(tiny: Tiny, seventeen: Path, tmp_path: Path) -> None:
    told = Recorder()
    config = _pretrained(tiny, tmp_path / "config.py", seventeen, "backbone.")
    train(TrainRequest(stage="pose", config=config, work_dir=tmp_path / "run", epochs=1, device="cpu"), told)
    (plan,) = (line for line in told.lines if line.startswith("weights "))
    assert "tensors of backbone fit" in plan
    assert "\n" not in plan


def test_a_pretrained_backbone_of_which_nothing_fits_is_refused(tiny: Tiny, seventeen: Path, tmp_path: Path) -> None:
    config = _pretrained(tiny, tmp_path / "config.py", seventeen, "encoder.")
    with pytest.raises(RequestError, match="none of its tensors fits backbone of the model"):
        train(TrainRequest(stage="pose", config=config, work_dir=tmp_path / "run", epochs=1, device="cpu"))


def test_a_plan_groups_many_modules() -> None:
    class Tensor:
        def __init__(self, *shape: int) -> None:
            self.shape = shape

    model = {f"neck.block{i}.conv.weight": Tensor(2, 2) for i in range(9)} | {"head.fc.weight": Tensor(4, 3)}
    plan = plan_weights("a.pth", "", model, {"head.fc.weight": Tensor(5, 2), "a.num_batches_tracked": Tensor()})
    assert plan.text.splitlines() == [
        "weights a.pth: 0 of 10 tensors fit",
        "  different shape, not loaded: head.fc (5x2 -> 4x3)",
        "  not in the file, newly initialized: neck",
    ]
    assert plan.differences
