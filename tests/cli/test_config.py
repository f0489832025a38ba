from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from posetools.cli import main
from tests.recipes.sample import write_coco


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_coco(Path("data/cars"), train=40)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["posetools", "config", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_the_pair_is_written_and_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = ("--det", "tiny", "--pose", "s", "--det-epochs", "200", "--det-batch-size", "4")
    assert run(monkeypatch, "data/cars", *said, "--out", "made") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:2] == ["made/rtmdet_tiny_car8.py", "made/rtmpose-s_car8.py"]
    assert "det: 40 images in batches of 4; 200 epochs of 10 iterations: 2000 in total, 200 of them warm-up" in out
    assert out.splitlines()[-1] == "next: posetools train --stage all data/cars --configs made"
    assert "rtmdet_tiny_8xb32" in Path("made/rtmdet_tiny_car8.py").read_text(encoding="utf-8")


def test_files_in_the_way_are_said_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measuring needs the train extra, but wrong options are reported first."""
    for there in ("rtmdet_tiny_car8.py", "rtmpose-t_car8.py"):
        Path("configs").mkdir(exist_ok=True)
        Path("configs", there).write_text("mine\n", encoding="utf-8")
        assert run(monkeypatch, "data/cars", "--det", "tiny", "--pose", "t", "--minutes", "1") == 2
        err = capsys.readouterr().err
        assert err.startswith(
            f"error: configs/{there}: exists already\n  fix: use --overwrite to replace it, or another --out"
        )
        assert Path("configs", there).read_text(encoding="utf-8") == "mine\n"
        Path("configs", there).unlink()


def test_the_table_has_all_iterations(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = ("--det-epochs", "30", "--det-batch-size", "8", "--input-size", "128")
    assert run(monkeypatch, "data/cars", "--explain", *said) == 0
    det, _, _ = capsys.readouterr().out.partition("RTMPose")
    words = " ".join(det.split())
    times = int(words.partition("40 images, ")[2].split()[0])
    assert (
        f"iterations depends on data {30 * 5 * times} 30 epochs of {5 * times}: 40 images, {times} times per epoch"
        in words
    )


def test_a_stages_own_option_wins_over_the_shared_one_and_both_over_the_toml(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("recipe.toml").write_text(
        "seed = 4\nworkers = 1\n[det]\nepochs = 5\n[pose]\nepochs = 6\nval_batch_size = 3\nsigma = 4\n",
        encoding="utf-8",
    )
    shared = ["--epochs", "30", "--input-size", "384", "--batch-size", "8", "--lr", "0.002", "--stage2-epochs", "3"]
    own = ["--pose-epochs", "40", "--det-input-size", "640x384", "--pose-batch-size", "16", "--det-lr", "0.001"]
    rest = ["--recipe", "recipe.toml", "--seed", "9", "--val-interval", "2", "--backbone", "none"]
    rest += ["--augmentation", "strong", "--freeze", "none"]
    assert run(monkeypatch, "data/cars", *shared, *own, *rest, "--pose-load-from", "https://example.org/p.pth") == 0
    det = Path("configs/rtmdet_m_car8.py").read_text(encoding="utf-8")
    pose = Path("configs/rtmpose-m_car8.py").read_text(encoding="utf-8")
    for line in ("max_epochs = 30 ", "input_size = (640, 384) ", "batch_size = 8 ", "base_lr = 0.001 ", "(seed=9)"):
        assert line in det
    for line in ("max_epochs = 40 ", "input_size = (384, 384) ", "batch_size = 16 ", "base_lr = 0.002 ", "(seed=9)"):
        assert line in pose
    for line in ("stage2_num_epochs = 3 ", "val_interval = 2 ", "num_workers = 1 "):
        assert line in det
        assert line in pose
    for line in ("val_batch_size = 3", "sigma=(4.0, 4.0)", "init_cfg=None", "load_from = 'https://example.org/p.pth'"):
        assert line in pose


def test_rotation_is_stated_on_the_command_line_or_in_the_toml(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("recipe.toml").write_text("[pose]\nrotation = 180\n", encoding="utf-8")
    assert run(monkeypatch, "data/cars", "--recipe", "recipe.toml") == 0
    pose = Path("configs/rtmpose-m_car8.py")
    assert "rotate_factor=180)" in pose.read_text(encoding="utf-8")
    assert "Rotation up to 180 degrees (stock: 80, then 60): set by you." in pose.read_text(encoding="utf-8")
    assert run(monkeypatch, "data/cars", "--recipe", "recipe.toml", "--rotation", "0", "--overwrite") == 0
    assert "rotate_factor=0)" in pose.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["data/cars", "--pose-input-size", "200"], ["--input-size (pose): must be a multiple of 32", "got '200'"]),
        (["data/cars", "--epochs", "5", "--stage2-epochs", "6"], ["--stage2-epochs (det): must be at most epochs (5)"]),
        (["data/cars", "--backbone", "stok"], ["--backbone (det): must be stock, none, a URL or", "got 'stok'"]),
        (["data/cars", "--batch-size", "all"], ["--batch-size (det): must be a whole number of at least 1, or auto"]),
        (
            ["data/cars", "--freeze", "backbone", "--pretrained", "none"],
            ["--freeze (det): backbone requires pretrained weights"],
        ),
        (["data/cars", "--minutes", "0"], ["--minutes: input should be greater than 0, got 0.0"]),
        (["data/cars", "--recipe", "gone.toml"], ["gone.toml: cannot be read"]),
        (["data/cars", "--skeleton", "coco17"], ["categories must be one with the name 'person'", "got ['car']"]),
        (["data/none"], ["data/none: must be a data set folder"]),
    ],
)
def test_what_cannot_be_done_is_said_in_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], parts: list[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    for part in parts:
        assert part in error
    assert not Path("configs").exists()


def test_explain_prints_every_field_with_its_reason_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, "data/cars", "--explain", "--det-epochs", "33", "--pose", "t") == 0
    out = capsys.readouterr().out
    tables = out[out.index("RTMDet") : out.index("configs/rtmdet")]
    assert max(map(len, tables.splitlines())) <= 80
    for heading in ("field", "stock", "chosen", "reason"):
        assert tables.count(heading) >= 3
    words = " ".join(tables.split())
    assert "epochs 300 33 set by you" in words
    assert "size t set by you" in words
    assert "input_size 640x640 96x64 images are 96x64 (median)" in words
    assert "the stock recipe of this size has no EMA" in words
    assert words.count("set by you") == 2
    assert "data: images 96 x 64 (median)" in out
    assert Path("configs/rtmdet_m_car8.py").is_file()


def test_auto_without_a_gpu_says_so_and_takes_the_rules_batch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from posetools.recipes.machine import Machine
    from posetools.training import recipe

    monkeypatch.setattr(recipe, "this_machine", lambda: Machine(2))
    assert run(monkeypatch, "data/cars", "--batch-size", "auto", "--explain", "--pose-batch-size", "16") == 0
    out = capsys.readouterr().out
    words = " ".join(out.split())
    assert out.count("    batch: auto needs a GPU, and none is available\n") == 1
    assert "small batches give more iterations in the same time; auto needs a GPU, and none is available" in words
    assert "batch_size 8 x 256 16 set by you" in words
    assert "auto needs a GPU" in Path("configs/rtmdet_m_car8.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("pretrained", "load_from", "backbone"),
    [("coco", ("rtmdet_m_8xb32", "rtmpose-m_simcc-coco"), "none"), ("imagenet", (), "stock"), ("none", (), "none")],
)
def test_pretrained_is_one_word_for_both_models(
    monkeypatch: pytest.MonkeyPatch, pretrained: str, load_from: tuple[str, ...], backbone: str
) -> None:
    assert run(monkeypatch, "data/cars", "--pretrained", pretrained) == 0
    texts = [Path(f"configs/{name}_car8.py").read_text(encoding="utf-8") for name in ("rtmdet_m", "rtmpose-m")]
    for text, name in zip(texts, load_from or ("", ""), strict=True):
        assert ("load_from = " in text) == bool(load_from)
        assert name in text
    assert ("init_cfg=None" in texts[1]) == (backbone == "none")


def test_emitting_imports_no_openmmlab() -> None:
    script = (
        "import sys\nsys.argv = ['posetools', 'config', 'data/cars']\nfrom posetools.cli import main\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'torch', 'mmengine', 'mmcv', 'mmdet', 'mmpose', 'cv2'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path("configs/rtmpose-m_car8.py").is_file()
