"""Where an object came from."""

from __future__ import annotations

import pickle

import pytest

from posetools.core.place import Origin, Origins


@pytest.mark.parametrize(("place", "text"), [("shapes[2]", "a.json: shapes[2]"), ("", "a.json")])
def test_an_origin_is_shown_as_file_and_place(place: str, text: str) -> None:
    origin = Origin("a.json", place)
    assert str(origin) == f"{origin}" == text
    assert (origin.file, origin.place) == ("a.json", place)
    assert pickle.loads(pickle.dumps(origin)) == origin


def test_many_origins_are_columns() -> None:
    origins = Origins.of([Origin("a.json", "shapes[0]"), Origin("a.json", "shapes[2]"), Origin("b.json", "shapes[0]")])
    assert list(origins) == [("a.json", "shapes[0]"), ("a.json", "shapes[2]"), ("b.json", "shapes[0]")]
    assert list(map(str, origins[1:])) == ["a.json: shapes[2]", "b.json: shapes[0]"]
    assert list(origins.take([2, 0])) == [origins[2], origins[0]]
    assert Origins.joined([origins[:1], Origins.of([]), origins[1:]]) == origins
    assert len(Origins.joined([])) == 0
