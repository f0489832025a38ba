"""``posetools convert``: options reach the conversion; tables and exit status show the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from posetools.formats import FORMATS
from tests.build import make_dataset, make_image
from tests.cli.run import run


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with a labelme folder ``src``."""
    dataset = make_dataset(tmp_path / "pictures", images=[f"{name}.jpg" for name in "abcde"], per_image=1)
    folder = tmp_path / "src"
    folder.mkdir()
    write = FORMATS["labelme"].write
    assert write
    write({"all": dataset}, folder, "copy")
    monkeypatch.chdir(tmp_path)
    return Path("src")


def _options(out: str) -> dict[str, Any]:
    options: dict[str, Any] = json.loads((Path(out) / "conversion.json").read_text())["options"]
    return options


def _rename_label(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(f'"label": "{old}"', f'"label": "{new}"'))


def test_table_notes_and_next_step(source: Path) -> None:
    done = run("convert", source, "--out", "cars", "--val", "0.4")
    assert done.status == 0
    assert "│ images │ 3 │ 2 │" in done.words
    assert "│ objects │ 3 │ 2 │" in done.words
    assert "right-rear-tire" in done.out
    lines = done.out.splitlines()
    assert lines[-5:-2] == [
        "split: by image",
        "skeleton car8: category 'car', 8 keypoints, from src",
        "left/right pairs: left-front-bumper - right-front-bumper, left-rear-bumper - right-rear-bumper, "
        "left-front-tire - right-front-tire, left-rear-tire - right-rear-tire",
    ]
    assert lines[-2:] == [
        "read 5 labelme annotation files, wrote cars",
        "next: posetools validate cars",
    ]
    assert "reading labelme files: 5/5" in done.err


def test_every_option_reaches_the_conversion(source: Path) -> None:
    Path("more").mkdir()
    done = run(
        *("convert", source, "--out", "cars", "--from", "labelme", "--to", "coco", "--skeleton", "car8"),
        *("--val", "0.3", "--seed", "7", "--split-by", "(.)", "--images", "symlink", "--workers", "1"),
        *("--image-root", "more", "--map", "auto=car", "--map", "x=y=left-front-tire", "--ignore", "tree"),
        *("--box-from", "keypoints", "--box-margin", "0.2", "--label-pattern", "(?P<name>.*)"),
        *("--hidden-flag", "covered", "--kpt-shape", "8,3"),
        *("--kpt-order", ",".join(f"p{i}" for i in range(8)), "--assume-visible"),
        *("--attribute", "label=part", "--mapping", "table.toml", "--trust-sizes"),
        *("--categories", "car", "--one-object-per-image", "--keypoints-from", "categories"),
        *("--drop-crowds", "--encoding", "utf-8"),
        *("--bake-rotation", "--keep-going", "--overwrite"),
    )
    assert done.status == 0
    assert _options("cars") == {
        "skeleton": "car8",
        "images": "symlink",
        "bake_rotation": True,
        "keep_going": True,
        "image_roots": ["more"],
        "map": {"auto": "car", "x=y": "left-front-tire"},
        "ignore": ["tree"],
        "categories": ["car"],
        "one_object_per_image": True,
        "box_from": "keypoints",
        "box_margin": 0.2,
        "box_margin_px": 0.0,
        "label_pattern": "(?P<name>.*)",
        "hidden_flags": ["covered", "hidden", "occluded"],
        "kpt_shape": [8, 3],
        "kpt_order": [f"p{i}" for i in range(8)],
        "keypoints_from": "categories",
        "drop_crowds": True,
        "encoding": "utf-8",
        "assume_visible": True,
        "trust_sizes": True,
        "attributes": {"label": "part"},
        "mapping": "table.toml",
    }


def test_errors_are_listed_and_nothing_is_written(source: Path) -> None:
    _rename_label(source / "b.json", "car", "lorry")
    done = run("convert", source, "--out", "cars", "--skeleton", "car8")
    assert done.status == 1
    assert "E301 unknown-label" in done.out
    assert "src/b.json: " in done.out
    assert "'lorry'" in done.out
    assert "--keep-going writes what could be read" in done.out.splitlines()[-1]
    assert not Path("cars").exists()
    went_on = run("convert", source, "--out", "cars", "--skeleton", "car8", "--keep-going")
    assert went_on.status == 1
    assert "the images or objects named there are not in cars" in went_on.out
    assert Path("cars/train_coco.json").is_file()


def test_what_is_ignored_is_counted(source: Path) -> None:
    _rename_label(source / "b.json", "left-rear-tire", "tree")
    count = (source / "b.json").read_text().count('"tree"')
    done = run("convert", source, "--out", "cars", "--ignore", "tree")
    assert done.status == 0
    assert ("left out on purpose: tree (1)" in done.out) == (count == 1)


def test_warnings_alone_are_shown_and_status_0(source: Path) -> None:
    make_image(source / "new.jpg")
    done = run("convert", source, "--out", "cars")
    assert done.status == 0
    assert "W322 no-annotation-file (1)" in done.out


def test_other_targets_have_no_validate_line(source: Path) -> None:
    done = run("convert", source, "--out", "yolo", "--to", "yolo-pose")
    assert done.status == 0
    assert "validate" not in done.out
    back = run("convert", "yolo", "--out", "labelme", "--to", "labelme")
    assert back.status == 0
    assert "split: none: labelme has no splits" in back.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--map", "lorry"],
            "--map must be OLD=NEW, a label in the source and its name in the skeleton, got 'lorry'",
        ),
        (
            ["--map", "a=car", "--map", "a=left-front-tire"],
            "--map must be given once per label, but 'a' already is 'car', got 'a=left-front-tire'",
        ),
        (["--kpt-shape", "8"], "--kpt-shape must be the number of keypoints and 2 or 3, such as 8,3, got '8'"),
        (["--kpt-shape", "8,4"], "--kpt-shape must be the number of keypoints and 2 or 3, such as 8,3, got '8,4'"),
        (
            ["--to", "voc"],
            "--to must be one of coco, cvat, deeplabcut, label-studio, labelme, sleap, via, yolo-pose, got 'voc'",
        ),
    ],
)
def test_options_that_mean_nothing(source: Path, arguments: list[str], message: str) -> None:
    done = run("convert", source, "--out", "cars", *arguments)
    assert (done.status, done.err) == (2, f"error: {message}\n")
    assert not Path("cars").exists()


def test_help_names_every_format() -> None:
    words = run("convert", "--help").words
    for name in FORMATS:
        assert name in words
