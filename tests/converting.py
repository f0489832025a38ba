"""Sources for the tests of convert, and its output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posetools.core.dataset import Dataset
from posetools.core.folder import IMAGES, ann_file, skeleton_of, splits_of
from posetools.datasets.convert import ConvertRequest, ConvertResult, convert
from posetools.formats import FORMATS
from posetools.formats.coco.format import read_split
from tests.build import make_dataset

NAMES = [f"{name}.jpg" for name in "abcdefghij"]


def write_source(folder: Path, format_name: str, splits: Mapping[str, Dataset]) -> Path:
    write = FORMATS[format_name].write
    assert write
    folder.mkdir(parents=True)
    write(splits, folder, "copy")
    return folder


def labelme_source(tmp_path: Path, images: list[str] | None = None, **more: Any) -> tuple[Path, Dataset]:
    """Write a labelme folder; return it and its content."""
    dataset = make_dataset(tmp_path / "pictures", images=images or NAMES, **more)
    return write_source(tmp_path / "src", "labelme", {"all": dataset}), dataset


def convert_one(source: Path, out: Path, **more: Any) -> ConvertResult:
    return convert(ConvertRequest(sources=(source,), out=out, **more))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def written(out: Path) -> dict[str, Dataset]:
    """Return the content of a data set folder, by split."""
    skeleton = skeleton_of(out)
    read = {split: read_split(ann_file(out, split), out / IMAGES, skeleton) for split in splits_of(out)}
    assert not any(each.findings for each in read.values())
    return {split: each.dataset for split, each in read.items()}


def instances(result: ConvertResult) -> int:
    return sum(counts.instances for counts in result.counts.values())
