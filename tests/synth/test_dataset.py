"""The rendered set on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError
from posetools.formats import FORMATS
from posetools.formats.options import ReadOptions
from posetools.synth import render_set

SIZE = (160, 120)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_labelme_reader_gives_the_set_back(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    written = render_set(tmp_path / "set", images=3, size=SIZE, seed=5, progress=lambda *news: told.append(news))
    read = FORMATS["labelme"].read([tmp_path / "set"], load_skeleton("car8"), ReadOptions())
    assert read.findings == ()
    assert read.dataset == written
    assert [image.file_name for image in written.images] == ["car_0001.jpg", "car_0002.jpg", "car_0003.jpg"]
    assert told == [("rendering cars", i, 3) for i in (1, 2, 3)]
    for image in written.images:
        assert image.path is not None
        with Pillow.open(image.path) as opened:
            assert opened.size == SIZE
            assert np.asarray(opened).std() > 10


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    render_set(tmp_path / "a", images=2, size=SIZE, seed=1)
    render_set(tmp_path / "b", images=3, size=SIZE, seed=1)
    render_set(tmp_path / "c", images=2, size=SIZE, seed=2)
    a, b, c = (_contents(tmp_path / name) for name in "abc")
    assert len(a) == 4
    assert a.items() < b.items()
    assert all(c[name] != data for name, data in a.items())


def test_workers_give_the_same_bytes(tmp_path: Path) -> None:
    render_set(tmp_path / "one", images=10, size=(64, 64), seed=1)
    render_set(tmp_path / "two", images=10, size=(64, 64), seed=1, workers=2)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


@pytest.mark.parametrize(
    ("images", "size", "seed", "said"),
    [
        (0, SIZE, 0, "images must be at least 1, got 0"),
        (1, (160, 32), 0, "size must be at least 64 pixels on both sides, got (160, 32)"),
        (1, SIZE, -1, "seed must be 0 or more, got -1"),
    ],
)
def test_impossible_requests_are_refused(
    tmp_path: Path, images: int, size: tuple[int, int], seed: int, said: str
) -> None:
    with pytest.raises(RequestError) as error:
        render_set(tmp_path / "set", images=images, size=size, seed=seed)
    assert str(error.value) == said
    assert not (tmp_path / "set").exists()


def test_existing_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(RequestError, match="exists and is not empty"):
        render_set(tmp_path, images=1, size=SIZE, seed=0)
    assert (tmp_path / "mine.txt").read_text() == "keep"
