"""Configs that start from the starter weights, without OpenMMLab; tests/training/test_starter.py trains them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import get_args

import pytest

from posetools.core.skeleton import load_skeleton, parse_skeleton
from posetools.recipes.options import PRETRAINED, Pretrained
from posetools.recipes.starter import STARTERS
from tests.cli.run import run
from tests.recipes.sample import write_coco
from tests.road_object import SKELETON_YAML

SIZES = ("--det", "tiny", "--pose", "t", "--pretrained", "starter")
FILES = {"det": Path("configs/rtmdet_tiny_car8.py"), "pose": Path("configs/rtmpose-t_car8.py")}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_files_are_there_and_small() -> None:
    sizes = [starter.path.stat().st_size for starter in STARTERS.values()]
    assert min(sizes) > 5e6
    assert sum(sizes) <= 18e6
    assert (STARTERS["det"].path.parent / "README.md").is_file()


def test_both_configs_name_the_file_of_any_installation() -> None:
    write_coco(Path("data/cars"))
    done = run("config", "data/cars", *SIZES, "--explain")
    assert done.status == 0, done.err
    assert done.words.count("load_from none starter set by you: the starter weights in posetools") == 2
    for starter, path in zip(STARTERS.values(), FILES.values(), strict=True):
        text = path.read_text(encoding="utf-8")
        assert str(starter.path) not in text
        assert "posetools is needed only for its starter weights" in text
        config = runpy.run_path(str(path))
        assert Path(config["load_from"]).samefile(starter.path)
        assert config["model"]["backbone"]["init_cfg"] is None


def test_a_recipe_may_name_them_for_one_model() -> None:
    write_coco(Path("data/cars"))
    Path("recipe.toml").write_text('[det]\nsize = "tiny"\nload_from = "starter"\n', encoding="utf-8")
    assert run("config", "data/cars", "--recipe", "recipe.toml", "--pose", "t").status == 0
    assert "load_from" in FILES["det"].read_text(encoding="utf-8")
    assert "load_from" not in FILES["pose"].read_text(encoding="utf-8")
    assert "posetools is not needed" in FILES["pose"].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ((), "--det-load-from: starter weights exist for RTMDet-tiny only, got size m"),
        (("--det", "tiny"), "--pose-load-from: starter weights exist for RTMPose-t only, got size m"),
    ],
)
def test_other_sizes_have_none(sizes: tuple[str, ...], sentence: str) -> None:
    write_coco(Path("data/cars"))
    done = run("config", "data/cars", *sizes, "--pretrained", "starter")
    assert done.status == 2
    assert sentence in done.err
    assert "use --det tiny --pose t with --pretrained starter, or --pretrained coco" in done.err
    assert not Path("configs").exists()


def test_on_a_cpu_the_input_is_that_of_the_whole_head_if_the_skeleton_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for skeleton in (load_skeleton("car8"), parse_skeleton("critter.yaml", SKELETON_YAML)):
        write_coco(Path(skeleton.name), skeleton=skeleton)
        Path("skeleton.yaml").write_text(SKELETON_YAML, encoding="utf-8")
        more = () if skeleton.name == "car8" else ("--skeleton", "skeleton.yaml")
        done = run("config", skeleton.name, *SIZES, *more)
        assert done.status == 0, done.err
    sizes = [runpy.run_path(f"configs/rtmpose-t_{name}.py")["codec"]["input_size"] for name in ("car8", "critter")]
    assert sizes == [STARTERS["pose"].input_size, (128, 128)]


def test_the_option_has_the_values_of_the_recipe() -> None:
    values = get_args(Pretrained)
    assert set(PRETRAINED) == {None, *values}
    assert f"--pretrained {'|'.join(values)}" in run("config", "--help").words
