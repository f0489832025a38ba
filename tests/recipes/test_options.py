from __future__ import annotations

from pathlib import Path

import pytest

from posetools.errors import InputError, RequestError
from posetools.recipes.options import RecipeOptions, build_options, load_options, parse_input_size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (256, (256, 256)),
        ("384", (384, 384)),
        ("512x512", (512, 512)),
        ("192X256", (192, 256)),
        ([1024, 576], (1024, 576)),
        ((64, 32), (64, 32)),
    ],
)
def test_an_input_size_is_a_side_or_width_by_height(value: object, size: tuple[int, int]) -> None:
    assert parse_input_size(value) == size


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (250, "must be a multiple of 32 on both sides, got 250; use 256"),
        ("640x350", "must be a multiple of 32 on both sides, got '640x350'; use 640x352"),
        ("big", "must be SIDE or WIDTHxHEIGHT in pixels, got 'big'"),
        ("256x", "must be SIDE or WIDTHxHEIGHT in pixels, got '256x'"),
        ("1x2x3", "must be SIDE or WIDTHxHEIGHT in pixels, got '1x2x3'"),
        (-256, "must be SIDE or WIDTHxHEIGHT in pixels, got -256"),
        (0, "must be SIDE or WIDTHxHEIGHT in pixels, got 0"),
        (True, "must be SIDE or WIDTHxHEIGHT in pixels, got True"),
        ([], "must be SIDE or WIDTHxHEIGHT in pixels, got []"),
        (256.0, "must be SIDE or WIDTHxHEIGHT in pixels, got 256.0"),
    ],
)
def test_other_input_sizes_are_refused_with_the_rule(value: object, rule: str) -> None:
    with pytest.raises(ValueError, match=r"^must be") as caught:
        parse_input_size(value)
    assert str(caught.value) == rule


def test_what_is_not_said_is_left_to_the_rules() -> None:
    options = RecipeOptions()
    assert (options.det.size, options.pose.size, options.pose.simcc_split_ratio) == ("m", "m", None)
    unsaid = {**options.det.model_dump(exclude={"size"}), **options.model_dump(exclude={"det", "pose"})}
    assert set(unsaid.values()) == {None}


@pytest.mark.parametrize("value", [1, 64, "auto"])
def test_a_batch_is_a_number_or_auto(value: object) -> None:
    assert RecipeOptions.model_validate({"det": {"batch_size": value}}).det.batch_size == value


WHOLE = """
seed = 3
workers = 0
minutes = 45

[det]
size = "tiny"
input_size = "640x384"
epochs = 60
repeat = 1
augmentation = "strong"
stage2_epochs = 6
batch_size = 8
val_batch_size = 4
lr = 1e-3
warmup_iters = 50
ema = true
ema_momentum = 0.002
freeze = "backbone"
val_interval = 5
backbone = "none"
load_from = "https://example.org/det.pth"

[pose]
size = "x"
input_size = 1024
sigma = [6.0, 6.93]
simcc_split_ratio = 1.5
"""


def test_a_toml_sets_everything(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(WHOLE, encoding="utf-8")
    options = RecipeOptions.model_validate(load_options(path))
    assert (options.seed, options.workers, options.minutes, options.pose.size) == (3, 0, 45, "x")
    det = options.det.model_dump()
    assert det == {
        "size": "tiny",
        "input_size": (640, 384),
        "epochs": 60,
        "repeat": 1,
        "augmentation": "strong",
        "stage2_epochs": 6,
        "batch_size": 8,
        "val_batch_size": 4,
        "lr": 0.001,
        "warmup_iters": 50,
        "ema": True,
        "ema_momentum": 0.002,
        "freeze": "backbone",
        "val_interval": 5,
        "backbone": "none",
        "load_from": "https://example.org/det.pth",
    }
    assert options.pose.input_size == (1024, 1024)
    assert (options.pose.sigma, options.pose.simcc_split_ratio) == ((6.0, 6.93), 1.5)


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("epochs = 60", "epoch = 60", ["det.epoch: is not a key of the recipe; did you mean 'epochs'?"]),
        ("seed = 3", "sed = 3", ["sed: is not a key of the recipe; did you mean 'seed'?"]),
        ("seed = 3", "sigma = 3", ["sigma: is not a key of the recipe; did you mean [pose] sigma?"]),
        ("seed = 3", "epochs = 3", ["epochs: is not a key", "did you mean [det] epochs or [pose] epochs?"]),
        ("seed = 3", "zzz = 3", ["zzz: is not a key of the recipe; the keys are det, pose, seed, workers, minutes"]),
        ("epochs = 60", 'epochs = "60"', ["det.epochs: ", "valid integer", "got '60'"]),
        ("epochs = 60", "epochs = 0", ["det.epochs: ", "greater than or equal to 1", "got 0"]),
        ("stage2_epochs = 6", "stage2_epochs = 61", ["det.stage2_epochs: must be at most epochs (60), got 61"]),
        ("workers = 0", "workers = -1", ["workers: ", "greater than or equal to 0", "got -1"]),
        ('size = "tiny"', 'size = "t"', ["det.size: ", "'tiny', 's', 'm', 'l' or 'x'", "got 't'"]),
        ('"640x384"', '"640x380"', ["det.input_size: must be a multiple of 32 on both sides, got '640x380'"]),
        ("sigma = [6.0, 6.93]", "sigma = [6.0, 0]", ["pose.sigma: ", "greater than 0", "got 0"]),
        ("batch_size = 8", "batch_size = 0", ["det.batch_size: must be a whole number of at least 1, or auto, got 0"]),
        ("batch_size = 8", 'batch_size = "8"', ["batch_size: must be a whole number of at least 1, or auto, got '8'"]),
        ('"strong"', '"light"', ["det.stage2_epochs: must be omitted with light augmentation", "got 6"]),
        ('"strong"', '"weak"', ["det.augmentation: ", "'strong' or 'light'", "got 'weak'"]),
        ("ema = true", "ema = false", ["det.ema_momentum: must be omitted if ema is false, got 0.002"]),
        ("ema_momentum = 0.002", "ema_momentum = 1", ["det.ema_momentum: ", "less than 1", "got 1"]),
        ('"backbone"', '"head"', ["det.freeze: ", "'none' or 'backbone'", "got 'head'"]),
        ("minutes = 45", "minutes = 0", ["minutes: ", "greater than 0", "got 0"]),
        ("lr = 1e-3", "lr = nan", ["det.lr: ", "finite", "got nan"]),
        ("seed = 3", "sed = 3\nsead = 4", ["sed: is not a key", "sead: is not a key"]),
        ("seed = 3", "seed = ", ["is not valid TOML", "line 2"]),
    ],
)
def test_what_a_toml_may_not_say(tmp_path: Path, old: str, new: str, parts: list[str]) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(WHOLE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_options(path)
    assert str(caught.value).startswith(f"{path}: ")
    for part in parts:
        assert part in str(caught.value)


def test_the_command_line_wins_over_the_toml(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(WHOLE, encoding="utf-8")
    options = build_options(path, {"": {"seed": 5, "workers": None}, "det": {"epochs": 7, "stage2_epochs": 7}})
    assert (options.seed, options.workers) == (5, 0)
    assert (options.det.epochs, options.det.stage2_epochs, options.det.batch_size) == (7, 7, 8)


def test_a_wrong_option_is_named_as_on_the_command_line() -> None:
    with pytest.raises(RequestError) as caught:
        build_options(None, {"det": {"input_size": "250", "lr": -1.0}, "": {"seed": -1}})
    lines = str(caught.value).split("\n  ")
    assert "--input-size (det): must be a multiple of 32 on both sides, got '250'; use 256" in lines
    assert "--lr (det): input should be greater than 0, got -1.0" in lines
    assert "--seed: input should be greater than or equal to 0, got -1" in lines
