"""Evaluation, the best checkpoint and prediction use the average of the trained weights, as in stock mmengine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from posetools.core.skeleton import load_skeleton
from posetools.core.stages import Stage
from posetools.errors import PosetoolsWarning
from posetools.exporting.publish import publish
from posetools.mm.averages import is_stale, raw_weights
from posetools.mm.checkpoint import load_checkpoint
from posetools.mm.inference import Detector, PoseEstimator
from posetools.mm.run_folder import best_in, last_in, resumable
from posetools.pairs.doubts import doubt_of_checkpoint
from posetools.recipes.emit import EmittedPair, emit_pair
from posetools.recipes.options import DetOptions, PoseOptions, RecipeOptions
from posetools.training.request import TrainRequest
from posetools.training.rescue import KEPT, rescue
from posetools.training.train import train
from tests.cli.run import run as run_command
from tests.tiny_runs import Recorder, Tiny

pytestmark = pytest.mark.train

ROOT = Path(__file__).parents[2]
SMALL = {"input_size": (64, 64), "epochs": 2, "batch_size": 2, "backbone": "none"}
# RTMPose-t has no average in its stock recipe.
SIZES: dict[Stage, str] = {"det": "tiny", "pose": "s"}
PROBED = """
_base_ = {base!r}
custom_imports = dict(imports=['tests.mm.average_probe'])
default_hooks = dict(probe=dict(type='AverageProbe', file={file!r}))
"""


@dataclass(frozen=True)
class Probed:
    """An emitted config, and one that adds the probe to it.

    Attributes:
        stage: the stage of the model.
        emitted: the config as emitted.
        config: the one with the probe.
        file: where the probe writes.
    """

    stage: Stage
    emitted: Path
    config: Path
    file: Path

    def request(self, work_dir: Path, **changes: Any) -> TrainRequest:
        return TrainRequest(stage=self.stage, config=self.config, work_dir=work_dir, device="cpu", **changes)

    def seen(self) -> dict[str, Any]:
        import torch

        content: dict[str, Any] = torch.load(self.file.with_suffix(".0.pt"), weights_only=True)
        return content


def _emitted(tiny: Tiny, out: Path, **stated: Any) -> EmittedPair:
    options = RecipeOptions(
        det=DetOptions.model_validate({"size": SIZES["det"], **SMALL, **stated}),
        pose=PoseOptions.model_validate({"size": SIZES["pose"], **SMALL, **stated}),
        workers=0,
    )
    return emit_pair(tiny.data, load_skeleton("car8"), options, out)


def _probed(tiny: Tiny, stage: Stage, root: Path, **stated: Any) -> Probed:
    pair = _emitted(tiny, root / "configs", **stated)
    config, file = root / "probed.py", root / "probe"
    base = pair.det if stage == "det" else pair.pose
    config.write_text(PROBED.format(base=str(base.resolve()), file=str(file)))
    return Probed(stage, base, config, file)


class Trained(NamedTuple):
    """A run, and the weights that the probe recorded."""

    probed: Probed
    work_dir: Path
    seen: dict[str, Any]


@pytest.fixture(scope="module", params=["det", "pose"])
def trained(request: pytest.FixtureRequest, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp(f"averages_{request.param}")
    probed = _probed(tiny, request.param, root)
    train(probed.request(root / "run"))
    return Trained(probed, root / "run", probed.seen())


def _check(seen: dict[str, Any], checkpoint: dict[str, Any], *, shared: bool = False, least: int = 50) -> None:
    """Compare a checkpoint with the average that the probe computed from the weights of each iteration.

    With ``shared``, several processes averaged their batch norm statistics, in weights and average.
    """
    import torch

    raw = raw_weights(checkpoint)
    assert raw is not None
    moved = 0
    for name, expected in seen["average"].items():
        average = checkpoint["state_dict"][name]
        if shared and "running_" in name:
            continue
        assert torch.equal(raw[name], seen["weights"][name]), name
        if not average.is_floating_point():
            continue
        assert float((average - expected).abs().max()) <= 1e-6 * max(1.0, float(expected.abs().max())), name
        if not torch.equal(seen["weights"][name], seen["before"][name]):
            moved += 1
            assert not torch.equal(average, seen["before"][name]), name
    assert moved > least
    assert not is_stale({**checkpoint, "meta": {"cfg": checkpoint["meta"]["cfg"]}})


def test_the_average_is_that_of_the_weights_of_all_iterations(trained: Trained) -> None:
    checkpoint = load_checkpoint(trained.work_dir / "epoch_2.pth")
    assert int(checkpoint["ema_state_dict"]["steps"]) >= 4
    _check(trained.seen, checkpoint)


def test_the_best_checkpoint_predicts_with_the_average(trained: Trained) -> None:
    import torch

    probed, work_dir, seen = trained
    best = best_in(work_dir)
    assert best is not None
    assert best.stem.endswith("epoch_2"), "of two equal evaluations the later is the best"
    model = (Detector if probed.stage == "det" else PoseEstimator)(probed.emitted, best).model
    for name, value in model.state_dict().items():
        assert torch.allclose(value, seen["average"][name], atol=1e-5), name


def test_a_resumed_run_goes_on_with_its_average(trained: Trained, tmp_path: Path) -> None:
    probed, work_dir, _ = trained
    shutil.copytree(work_dir, tmp_path / "run")
    train(TrainRequest(stage=probed.stage, work_dir=tmp_path / "run", resume=True, epochs=3, device="cpu"))
    _check(probed.seen(), load_checkpoint(tmp_path / "run" / "epoch_3.pth"))


def test_with_weights_to_start_from_and_with_frozen_layers(tiny: Tiny, trained: Trained, tmp_path: Path) -> None:
    import torch

    first, work_dir, _ = trained
    weights = work_dir / "epoch_1.pth"
    frozen = _probed(tiny, first.stage, tmp_path, freeze="backbone", backbone=None, load_from=str(weights))
    train(frozen.request(tmp_path / "frozen", weights=str(weights), epochs=1))
    checkpoint = load_checkpoint(tmp_path / "frozen" / "epoch_1.pth")
    _check(frozen.seen(), checkpoint, least=10)
    given = load_checkpoint(weights)["state_dict"]
    kept = [name for name in given if name.startswith("backbone.") and given[name].is_floating_point()]
    assert kept
    raw = raw_weights(checkpoint)
    assert raw is not None
    for name in kept:
        assert torch.equal(raw[name], given[name]), name
        # Averaging equal numbers rounds.
        assert torch.allclose(checkpoint["state_dict"][name], given[name], rtol=1e-5), name


def test_with_several_processes(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    probed = _probed(tiny, "pose", tmp_path)
    train(probed.request(tmp_path / "run", processes=2))
    _check(probed.seen(), load_checkpoint(tmp_path / "run" / "epoch_2.pth"), shared=True)


# Checkpoints of earlier versions --------------------------------------------------------------------------------------


@pytest.fixture
def stale(trained: Trained, tmp_path: Path) -> Trained:
    """Return a work folder as posetools 0.1 wrote it: the average has untrained convolutions."""
    import torch

    probed, work_dir, seen = trained
    broken = tmp_path / "pair" / "run"
    shutil.copytree(work_dir, broken)
    torch.manual_seed(0)
    for path in broken.glob("*.pth"):
        checkpoint = load_checkpoint(path)
        for value in checkpoint["state_dict"].values():
            if value.dim() == 4:
                torch.nn.init.kaiming_uniform_(value, a=5**0.5)
        del checkpoint["meta"]["posetools_version"]
        torch.save(checkpoint, path)
    return Trained(probed, broken, seen)


def test_every_use_of_such_weights_warns(stale: Trained, tmp_path: Path) -> None:
    probed, work_dir, _ = stale
    path = last_in(work_dir)
    assert path is not None
    with pytest.warns(PosetoolsWarning, match=rf"{path}: its averaged weights.* untrained.*\n  fix: posetools rescue"):
        (Detector if probed.stage == "det" else PoseEstimator)(probed.emitted, path)
    done = run_command("eval", path, "--stage", probed.stage, "--config", probed.emitted)
    assert done.status == 0, done.err
    assert f"warning: {path}: its averaged weights" in done.err
    assert "posetools rescue" in "\n".join(publish(path, tmp_path / "published.pth").notes)
    lines: list[str] = []
    resumable(work_dir, lines.append)
    assert "posetools rescue" in lines[0]


def test_rescue_replaces_them_with_the_raw_weights(stale: Trained) -> None:
    import torch

    probed, work_dir, seen = stale
    before = {path.name: path.read_bytes() for path in work_dir.iterdir() if path.is_file()}
    best = best_in(work_dir)
    assert best is not None
    done = run_command("rescue", work_dir.parent)
    assert done.status == 0, done.err
    assert f"{work_dir / 'epoch_2.pth'}: now has the trained weights" in done.out
    assert f"posetools eval --run {work_dir.parent}" in done.out
    for name in ("epoch_1.pth", "epoch_2.pth", "metrics.json", "evaluations.json", best.name):
        assert (work_dir / KEPT / name).read_bytes() == before[name], name
    assert best_in(work_dir) is None
    assert "AP was never measured in its run" in doubt_of_checkpoint(work_dir / "epoch_2.pth")
    checkpoint = load_checkpoint(work_dir / "epoch_2.pth")
    model = (Detector if probed.stage == "det" else PoseEstimator)(probed.emitted, work_dir / "epoch_2.pth").model
    for name, value in seen["weights"].items():
        assert torch.equal(checkpoint["state_dict"][name], value), name
        assert torch.equal(model.state_dict()[name], value), name
    again = run_command("rescue", work_dir)
    assert (again.status, again.out) == (
        0,
        f"{work_dir}: nothing to rescue: all weight averages are intact\n",
    )
    # It resumes, and the average starts from the raw weights.
    told = Recorder()
    train(TrainRequest(stage=probed.stage, work_dir=work_dir, resume=True, epochs=3, device="cpu"), told)
    _check(probed.seen(), load_checkpoint(work_dir / "epoch_3.pth"))
    assert best_in(work_dir) is not None


def test_sound_runs_are_not_changed(trained: Trained) -> None:
    work_dir = trained.work_dir
    before = {path: path.read_bytes() for path in work_dir.rglob("*") if path.is_file()}
    assert rescue(work_dir) == ()
    assert {path: path.read_bytes() for path in work_dir.rglob("*") if path.is_file()} == before


def test_a_folder_without_checkpoints_cannot_be_rescued(tmp_path: Path) -> None:
    done = run_command("rescue", tmp_path)
    assert done.status == 2
    assert f"{tmp_path}: must be a run's work folder, or a folder of work folders, got no checkpoint in it" in done.err
