"""What a table says of its categories: labels in columns, or keypoints as columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posetools.formats.custom import format as custom
from posetools.formats.options import ReadOptions
from tests.formats.custom.test_custom import WIDE, save

LONG = """
file = "csv"
[columns]
picture = "image"
object = "id"
category = "kind"
[point]
name = "part"
x = "x"
y = "y"
[names]
t = "tail"
"""


def declared(folder: Path, table: str, mapping: str, **more: Any) -> list[tuple[str, tuple[str, ...]]]:
    options = ReadOptions(mapping=save(folder, table, mapping).mapping, **more)
    assert custom.FORMAT.declared is not None
    return [(one.name, one.keypoints) for one in custom.FORMAT.declared([folder / "in"], options)]


def test_labels_in_columns(tmp_path: Path) -> None:
    table = "image,id,kind,part,x,y\na.jpg,1,dog,nose,1,2\na.jpg,1,dog,t,3,4\na.jpg,2,cat,ear,5,6\nb.jpg,,,,,\n"
    assert declared(tmp_path, table, LONG) == [("dog", ("nose", "tail")), ("cat", ("ear",))]
    assert declared(tmp_path, table, LONG, categories=("cat",)) == [("cat", ("ear",))]
    assert declared(tmp_path, table, LONG, ignore={"cat", "nose"}) == [("dog", ("tail",))]


def test_keypoints_as_columns(tmp_path: Path) -> None:
    """Without names in the mapping, a keypoint is a name with all its columns; labeled or not."""
    table = "image,tail_x,tail_y,tail_v,eye_x,eye_y,eye_v,box_x,box_y\na.jpg,1,2,2,,,0,5,5\n"
    assert declared(tmp_path, table, WIDE) == [("", ("eye", "tail"))]
    named = WIDE + 'names = ["tail", "fin", "eye"]\n'
    assert declared(tmp_path, table, named) == [("", ("tail", "fin", "eye"))]


def test_without_a_mapping(tmp_path: Path) -> None:
    assert custom.FORMAT.declared is not None
    assert list(custom.FORMAT.declared([tmp_path], ReadOptions())) == []
