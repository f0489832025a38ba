"""``posetools export``."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from posetools.cli.export import _default_out
from tests.cli.run import run
from tests.plugins.site import posetools, put

NEEDED = ["export", "--out", "cars.zip", "--run", "work_dirs"]


def test_without_the_train_extra_the_message_names_the_install_command(tmp_path: Path) -> None:
    # None in sys.modules makes an import fail.
    program = (
        "import sys\n"
        "sys.modules['mmengine'] = None\n"
        "from posetools.cli import main\n"
        f"sys.argv = ['posetools', *{NEEDED!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "error: posetools export needs the 'train' extra" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_precisions_are_refused() -> None:
    done = run(*NEEDED, "--half", "--int8")
    assert (done.status, done.out) == (2, "")
    assert "--half and --int8 cannot be combined" in done.err


def test_the_bundle_has_the_runs_name_and_a_pair_without_a_run_needs_one(tmp_path: Path) -> None:
    assert _default_out(tmp_path / "work_dirs/dogs/") == Path("dogs.zip")
    done = run("export", "--det", "a.py", "a.pth", "--pose", "b.py", "b.pth")
    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines()[1] == "  fix: --out NAME.zip"


def test_what_to_type_after_a_training_has_the_runs_name(capsys: pytest.CaptureFixture[str]) -> None:
    from posetools.cli.train_all import print_both
    from posetools.training.pair import TrainAllResult
    from posetools.training.train import TrainResult

    one = TrainResult(work_dir=Path("work_dirs/dogs/det"), last=Path("epoch_3.pth"), best=None)
    print_both(TrainAllResult(work_dir=Path("work_dirs/dogs"), models={"det": one, "pose": one}, evaluation=None))
    out = capsys.readouterr().out
    assert "posetools export --run work_dirs/dogs --out dogs.zip" in " ".join(out.split())
    assert "cars" not in out


@pytest.mark.train
@pytest.mark.parametrize(
    "named", [[], ["--det", "a.py", "a.pth"], ["--run", "work_dirs", "--pose", "a.py", "a.pth"]], ids=str
)
def test_what_to_export_must_be_said_once(named: list[str]) -> None:
    done = run("export", "--out", "cars.zip", *named)
    assert (done.status, done.out) == (2, "")
    assert "--run DIR, or --det CONFIG CHECKPOINT --pose CONFIG CHECKPOINT" in done.words


@pytest.mark.train
def test_a_bundle_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from posetools.training.request import TrainRequest
    from posetools.training.train import train
    from tests.tiny_runs import make_tiny

    tiny, out = make_tiny(tmp_path), Path("runs.zip")
    monkeypatch.chdir(tmp_path)
    for stage in ("det", "pose"):
        work_dir = tmp_path / "runs" / stage
        train(TrainRequest(stage=stage, config=tiny.config(stage), work_dir=work_dir, device="cpu", epochs=1))
    places: list[str | Path] = ["--run", tmp_path / "runs", "--data", tiny.data]
    done = run("export", *places, "--half", "--samples", "1", "--bbox-thr", "0.001")
    assert done.status == 0, done.err
    for text in ("float16", "8 keypoints of car", "boxes before NMS", "scores of keypoints", f"val of {tiny.data}"):
        assert text in done.words
    for name in ("detector, size", "time per image here", "OKS AP, detected boxes", "samples: 1, "):
        assert name in done.out
    assert f"posetools verify {out}" in done.words
    with zipfile.ZipFile(out) as archive:
        assert sorted(archive.namelist()) == ["bundle.json", "det.onnx", "pose.onnx", "samples/1.png"]
    verified = run("verify", out)
    assert verified.status == 0, verified.out + verified.err
    again = run("export", *places)
    assert (again.status, again.out) == (2, "")
    assert again.err.startswith(f"error: --out {out}: exists already\n  fix: use --overwrite to replace it")

    # Another package's exporter gets that bundle; the user gets what it makes of it.
    module = (
        "from shutil import unpack_archive\nfrom posetools.plugins import ExporterPlugin\nPLUGIN_API = 1\n"
        "IT = ExporterPlugin(title='unpacked bundle', suffix='', write=unpack_archive)\n"
    )
    put(tmp_path / "site", "unpacker", module, {"exporters/unpacked": "IT"})
    words = ("--to", "unpacked", "--out", "parts", "--samples", "1", "--images", tiny.data / "images")
    unpacked = posetools(tmp_path / "site", "export", *places, *words, cwd=tmp_path)
    assert unpacked.returncode == 0, unpacked.stderr
    assert "bundle: car8, 8 keypoints of car, float32" in unpacked.stdout
    assert unpacked.stdout.endswith("\nparts: unpacked bundle\n")
    assert sorted(path.name for path in Path("parts").iterdir()) == ["bundle.json", "det.onnx", "pose.onnx", "samples"]
