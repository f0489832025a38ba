from __future__ import annotations

from pathlib import Path

import pytest

from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError
from posetools.recipes.emit import emit_pair, find_pair
from posetools.recipes.options import RecipeOptions
from tests.recipes.sample import write_coco

CAR8 = load_skeleton("car8")


@pytest.fixture
def two_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two data sets with configs in one folder; one data_root is relative, one absolute."""
    monkeypatch.chdir(tmp_path)
    write_coco(Path("data/a"))
    write_coco(Path("data/it's b"))
    emit_pair(Path("data/a"), CAR8, RecipeOptions(), Path("configs"))
    small = RecipeOptions.model_validate({"det": {"size": "s"}, "pose": {"size": "s"}})
    emit_pair(tmp_path / "data/it's b", CAR8, small, Path("configs"))
    Path("configs/notes.py").write_text("data_root = 'data/a'\n", encoding="utf-8")
    return tmp_path


def test_the_pair_of_a_data_set_is_found_however_it_is_named(two_sets: Path) -> None:
    for name in (Path("data/a"), Path("data/../data/a"), two_sets / "data" / "a"):
        pair = find_pair(name, Path("configs"))
        assert pair is not None
        assert (pair.det.name, pair.pose.name) == ("rtmdet_m_car8.py", "rtmpose-m_car8.py")
    pair = find_pair(Path("data/it's b"), Path("configs"))
    assert pair is not None
    assert pair.det.name == "rtmdet_s_car8.py"


def test_no_pair_is_no_error(two_sets: Path) -> None:
    assert find_pair(two_sets / "data" / "c", Path("configs")) is None
    assert find_pair(Path("data/a"), two_sets / "nowhere") is None


@pytest.mark.usefixtures("two_sets")
def test_several_or_half_a_pair_are_listed() -> None:
    emit_pair(Path("data/a"), CAR8, RecipeOptions.model_validate({"det": {"size": "l"}}), Path("configs"))
    with pytest.raises(RequestError) as caught:
        find_pair(Path("data/a"), Path("configs"))
    for part in ("configs: has several configs for data/a", "rtmdet_l_car8.py", "rtmdet_m_car8.py", "--config"):
        assert part in str(caught.value)
    Path("configs/rtmpose-s_car8.py").unlink()
    with pytest.raises(RequestError, match=r"rtmdet_s_car8\.py for data/it's b, but no pose config\n.*--config"):
        find_pair(Path("data/it's b"), Path("configs"))
