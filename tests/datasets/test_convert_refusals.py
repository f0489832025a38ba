"""convert: refusals, which leave everything unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posetools.datasets.convert import ConvertRequest, convert
from posetools.errors import PosetoolsError, RequestError
from posetools.formats.options import ReadOptions
from tests.converting import contents, convert_one, instances, labelme_source

Setting = Callable[[Path], dict[str, Any]]


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        pytest.param(lambda _: {"sources": ()}, ["SRC must be at least one file or folder, got none"], id="no source"),
        pytest.param(
            lambda t: {"sources": (t / "no",)},
            ["no: SRC must be an existing file or folder, but does not exist"],
            id="missing source",
        ),
        pytest.param(lambda t: {"out": t / "src"}, ["--out must be outside the source"], id="onto the source"),
        pytest.param(lambda t: {"out": t / "src" / "out"}, ["and must not contain it"], id="into the source"),
        pytest.param(
            lambda t: {"out": t}, ["--out must be outside the source", "choose a folder next to it"], id="around it"
        ),
        pytest.param(
            lambda t: {"out": t / "pictures" / "x", "read": ReadOptions(image_roots=(t / "pictures",))},
            ["--out must be outside the source"],
            id="into an image root",
        ),
        pytest.param(
            lambda t: {"read": ReadOptions(image_roots=(t / "no",))},
            ["no: --image-root must be an existing folder"],
            id="missing image root",
        ),
        pytest.param(
            lambda t: {"sources": (t / "pictures",)},
            [
                "/pictures: must be in a format that can be auto-detected, but none fits",
                "/pictures: 10 images and no labels; `posetools annotate",
                "  docs/convert.md lists what identifies each format: coco, custom, cvat",
                "choose the format with --from NAME",
            ],
            id="no format",
        ),
        pytest.param(
            lambda _: {"source_format": "voc"},
            ["--from must be one of coco, custom, cvat, ", "got 'voc'"],
            id="from",
        ),
        pytest.param(lambda _: {"target_format": "voc"}, ["--to must be one of ", "got 'voc'"], id="to"),
        pytest.param(
            lambda _: {"target_format": "labelme", "val": 0.2},
            ["--val and --split-by cannot be combined with --to labelme", "got 0.2 and None"],
            id="split for labelme",
        ),
        pytest.param(lambda _: {"val": 1.5}, ["--val must be greater than 0 and less", "got 1.5"], id="val"),
        pytest.param(lambda _: {"split_by": "("}, ["--split-by must be image, parent, or a regular"], id="regex"),
        pytest.param(lambda _: {"skeleton": "car9"}, ["skeleton must be one of", "got 'car9'"], id="skeleton"),
        pytest.param(
            lambda t: {"out": t / "full"}, ["full: exists and is not empty", "--overwrite replaces it"], id="full"
        ),
        pytest.param(
            lambda t: {"out": t / "full", "overwrite": True},
            ["--overwrite replaces only output of convert, but conversion.json is missing"],
            id="full of something else",
        ),
    ],
)
def test_refusals_leave_everything_as_it_is(tmp_path: Path, setting: Setting, parts: list[str]) -> None:
    source, _ = labelme_source(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(PosetoolsError) as caught:
        convert(ConvertRequest(**{"sources": (source,), "out": tmp_path / "out", **setting(tmp_path)}))
    for part in parts:
        assert part in str(caught.value)
    assert contents(tmp_path) == before


def test_a_split_that_means_nothing_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    told: list[str] = []
    with pytest.raises(RequestError, match="--val must be"):
        convert(ConvertRequest(sources=(source,), out=tmp_path / "out", val=-1), lambda what, *_: told.append(what))
    assert told == []


def test_overwrite_replaces_what_convert_wrote(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    convert_one(source, tmp_path / "out")
    (tmp_path / "out" / "images" / "left-over.jpg").write_bytes(b"")
    convert_one(source, tmp_path / "out", overwrite=True)
    assert "images/left-over.jpg" not in contents(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pictures", "src"]


def test_a_skeleton_file_inside_the_output_is_not_replaced(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    convert_one(source, tmp_path / "out")
    own = tmp_path / "out" / "own.yaml"
    shutil.copy(Path(__file__).parents[2] / "schemas" / "car8.yaml", own)
    with pytest.raises(RequestError, match="--out must be outside the source"):
        convert_one(source, tmp_path / "out", overwrite=True, skeleton=own)
    assert own.is_file()


def test_a_labelme_file_called_as_the_record_is_not_lost(tmp_path: Path) -> None:
    source, dataset = labelme_source(tmp_path, images=["conversion.jpg", "a.jpg"])
    assert instances(convert_one(source, tmp_path / "out")) == len(dataset)
    with pytest.raises(
        RequestError, match=r"conversion\.json is reserved for convert, but is the labelme file of an image"
    ):
        convert_one(source, tmp_path / "again", target_format="labelme")
    assert not (tmp_path / "again").exists()
