"""Other processes check the images of a data set as this one does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from posetools.checks.inspection import inspect
from posetools.checks.validate import validate
from posetools.scale.shards import Processes
from tests.coco_sample import edit, write_sample


def test_other_processes_find_the_same(tmp_path: Path) -> None:
    cars = tmp_path / "cars"
    write_sample(cars)
    shutil.copy(cars / "images/a.jpg", cars / "images/c.jpg")
    (cars / "images/sub/b.png").unlink()
    edit(cars / "val_coco.json", lambda d: d["images"].append({**d["images"][0], "id": 9, "file_name": "d.jpg"}))
    (cars / "images/d.jpg").write_bytes(b"no image")
    told: list[tuple[str, int, int]] = []
    here = validate(cars, progress=lambda *each: told.append(each))
    assert validate(cars, engine=Processes(2)) == here
    assert {"E121", "E122", "E126"} <= {finding.code for finding in here.findings}
    assert ("checking images", 4, 4) in told


class Meddler:
    """Runs shards in this process, and changes something as soon as the images are checked."""

    elsewhere: ClassVar[bool] = False

    def __init__(self, change: Callable[[], object]) -> None:
        self._change = change

    def run(
        self,
        work: Callable[[Any], Any],
        shards: Iterable[Any],
    ) -> Iterator[Any]:
        for shard in shards:
            yield work(shard)
        if work is inspect:
            self._change()


@pytest.mark.parametrize("becomes", ["nothing", "folder", "other image"])
def test_an_image_that_vanishes_midway_is_one_finding(tmp_path: Path, becomes: str) -> None:
    cars = tmp_path / "cars"
    write_sample(cars)
    shutil.copy(cars / "images/a.jpg", cars / "images/c.jpg")

    def change() -> None:
        (cars / "images/c.jpg").unlink()
        if becomes == "folder":
            (cars / "images/c.jpg").mkdir()
        elif becomes == "other image":
            shutil.copy(cars / "images/sub/b.png", cars / "images/c.jpg")

    found = [finding.code for finding in validate(cars, engine=Meddler(change)).findings]
    # It is no longer a duplicate; its new state is reported where it is visible.
    assert sorted(set(found) - {"W211"}) == ([] if becomes == "other image" else ["E121"])
