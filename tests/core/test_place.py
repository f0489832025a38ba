"""Where an object came from."""

from __future__ import annotations

import pickle

import pytest

from posetools.core.place import Origin


@pytest.mark.parametrize(("place", "text"), [("shapes[2]", "a.json: shapes[2]"), ("", "a.json")])
def test_an_origin_is_shown_as_file_and_place(place: str, text: str) -> None:
    origin = Origin("a.json", place)
    assert str(origin) == f"{origin}" == text
    assert (origin.file, origin.place) == ("a.json", place)
    assert pickle.loads(pickle.dumps(origin)) == origin
