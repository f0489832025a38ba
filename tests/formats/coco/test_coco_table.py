from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from posetools.checks.validate import validate
from posetools.core.skeleton import load_skeleton
from posetools.errors import InputError
from posetools.formats.coco.model import CocoFile
from posetools.formats.coco.table import read_table, table_from
from tests.coco_sample import edit, write_sample

TRAIN = "train_coco.json"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("table") / "cars"
    write_sample(folder)
    content: dict[str, Any] = json.loads((folder / TRAIN).read_text())
    return content


def test_columns_are_what_the_file_says(tmp_path: Path, document: dict[str, Any]) -> None:
    path = tmp_path / TRAIN
    path.write_text(json.dumps(document))
    for table in (read_table(path), table_from(document, path)):
        assert (table.readable, table.findings) == (True, ())
        assert table.images.file_names == ("a.jpg", "sub/b.png")
        assert table.images.sizes.tolist() == [[320, 240], [320, 240]]
        annotations = table.annotations
        entries = document["annotations"]
        assert annotations.ids.tolist() == [1, 2, 3, 4]
        assert annotations.bbox.tolist() == [entry["bbox"] for entry in entries]
        assert annotations.areas.tolist() == [entry["area"] for entry in entries]
        points = annotations.points(np.array([3, 1]), 8)
        assert points.reshape(2, 24).tolist() == [entries[3]["keypoints"], entries[1]["keypoints"]]
        assert table.image_rows().tolist() == [0, 0, 1, 1]
        assert annotations.place(2) == "annotations[2] (id 3)"
        assert table.images.place(1) == "images[1] (id 2, sub/b.png)"


def test_broken_rows_are_left_out_and_the_places_of_the_others_stay(document: dict[str, Any]) -> None:
    broken = {**document, "annotations": [None, *document["annotations"][1:]]}
    broken["images"] = [{**document["images"][0], "width": "320"}, document["images"][1]]
    table = table_from(broken, Path("x.json"))
    assert table.annotations.position.tolist() == [1, 2, 3]
    assert table.annotations.place(0) == "annotations[1] (id 2)"
    assert (table.num_annotations, table.num_images, len(table.images)) == (4, 2, 1)
    assert table.image_ids == {1, 2}
    assert table.image_rows().tolist() == [-1, 0, 0]


def test_images_are_found_whatever_the_order_of_their_ids(document: dict[str, Any]) -> None:
    images = [{**document["images"][0], "id": number} for number in (7, 2, 5, 2)]
    annotations = [{**document["annotations"][0], "image_id": number} for number in (2, 5, 7, 1, 9)]
    table = table_from({**document, "images": images, "annotations": annotations}, Path("x.json"))
    assert table.image_rows().tolist() == [1, 2, 0, -1, -1]


@pytest.mark.parametrize("content", ["[]", "null", '"x"', "3", '{"images": []}'])
def test_what_is_no_coco_file_has_findings_and_no_rows(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    table = read_table(tmp_path / "x.json")
    assert not table.readable
    assert table.findings
    assert (len(table.images), len(table.annotations), table.categories) == (0, 0, {})


def test_text_that_is_no_json_is_an_error_with_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"images": [],\n "annotations": [}')
    with pytest.raises(InputError) as caught:
        read_table(tmp_path / "x.json")
    assert caught.value.place == "line 2, column 18"


def test_unknown_keys_may_nest_deeply_and_a_byte_order_mark_is_allowed(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    text = json.dumps(document)[:-1] + ', "x": ' + "[" * 300 + "]" * 300 + "}"
    (tmp_path / "x.json").write_text(text, encoding="utf-8-sig")
    table = read_table(tmp_path / "x.json")
    assert (table.readable, table.findings, len(table.annotations)) == (True, (), 4)


_NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(-(2**70), 2**70))
_JUNK = st.one_of(st.none(), st.booleans(), _NUMBERS, st.text(max_size=4), st.lists(_NUMBERS, max_size=5), st.just({}))


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_text_and_parsed_documents_are_judged_alike(document: dict[str, Any], data: st.DataObject) -> None:
    mutated = json.loads(json.dumps(document))
    kind = data.draw(st.sampled_from(["images", "annotations", "categories"]))
    entry = mutated[kind][0]
    key = data.draw(st.sampled_from(sorted(entry)))
    if isinstance(entry[key], list) and entry[key] and data.draw(st.booleans()):
        entry[key][0] = data.draw(_JUNK)
    else:
        entry[key] = data.draw(_JUNK)
    assert _problems(json.dumps(mutated)) == _problems(mutated)


def _problems(document: Any) -> list[tuple[Any, ...]]:
    validate: Any = CocoFile.model_validate_json if isinstance(document, str) else CocoFile.model_validate
    try:
        validate(document)
    except ValidationError as exc:
        return [(error["loc"], error["type"]) for error in exc.errors()]
    return []


@pytest.mark.parametrize("kind", ["images", "categories"])
def test_an_id_of_more_than_64_bits_is_a_finding(tmp_path: Path, kind: str) -> None:
    write_sample(tmp_path / "cars")
    edit(tmp_path / "cars/train_coco.json", lambda document: document[kind][0].update(id=10**30))
    findings = validate(tmp_path / "cars", skeleton=load_skeleton()).findings
    assert any(f.code == "E102" and f.place.startswith(f"{kind}[0]") and "at most" in f.message for f in findings)
