"""The skeleton: what it refuses and where, what follows from the names, and files to start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from posetools.core.skeleton import BUILT_IN, Skeleton, built_in_path, dump_skeleton, load_skeleton, read_skeleton
from posetools.core.skeleton_draft import check_name, commented_yaml, draft_skeleton
from posetools.core.skeleton_pairs import swaps
from posetools.errors import InputError, RequestError

Mutation = Callable[[dict[str, Any]], None]


def _document() -> dict[str, Any]:
    return {
        "name": "cat",
        "category": {"name": "cat", "id": 1},
        "keypoints": [
            {"name": "nose"},
            {"name": "left-ear", "swap": "right-ear"},
            {"name": "right-ear", "swap": "left-ear", "color": [1, 2, 3]},
        ],
        "links": [{"points": ["nose", "left-ear"]}, {"points": ["nose", "right-ear"]}],
        "sigmas": [0.02, 0.03, 0.03],
        "joint_weights": [1.0, 1.5, 1.5],
    }


def _write(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "cat.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def _only(**fields: object) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        document.clear()
        document.update(fields)

    return mutate


def _set(*keys: str | int, to: object) -> Mutation:
    def mutate(document: dict[str, Any]) -> None:
        target: Any = document
        for key in keys[:-1]:
            target = target[key]
        if to is None:
            del target[keys[-1]]
        else:
            target[keys[-1]] = to

    return mutate


@pytest.mark.parametrize(
    ("mutate", "place", "problem"),
    [
        pytest.param(
            _set("keypoints", 2, "name", to="nose"),
            "",
            "keypoints[0] and keypoints[2]: name must be unique, got 'nose' 2 times",
            id="duplicate name",
        ),
        pytest.param(
            _set("keypoints", 2, "swap", to=None),
            "",
            "keypoints[1] (left-ear): swap must go both ways: 'left-ear' swaps with 'right-ear', "
            "but 'right-ear' swaps with None",
            id="one-sided swap",
        ),
        pytest.param(
            _set("keypoints", 1, "swap", to="tail"),
            "",
            "keypoints[1] (left-ear): swap must be the name of a keypoint, got 'tail'",
            id="swap with an unknown point",
        ),
        pytest.param(
            _set("keypoints", 0, "swap", to="nose"),
            "",
            "keypoints[0] (nose): swap must be another keypoint, got its own name; leave swap out instead",
            id="swap with itself",
        ),
        pytest.param(
            _set("links", 1, "points", to=["nose", "tail"]),
            "",
            "links[1]: points must be names of keypoints, got 'tail'",
            id="link to an unknown point",
        ),
        pytest.param(
            _set("links", 1, "points", to=["nose", "nose"]),
            "",
            "links[1]: points must be two different keypoints, got 'nose' twice",
            id="link to itself",
        ),
        pytest.param(
            _set("links", 1, "points", to=["left-ear", "nose"]),
            "",
            "links[1]: points must be a new pair, got the same as links[0]",
            id="the same link twice, as in the old car recipe",
        ),
        pytest.param(
            _set("sigmas", to=[0.1, 0.1]),
            "",
            "sigmas must be a list of 3 numbers, one per keypoint, got 2 numbers",
            id="too few sigmas",
        ),
        pytest.param(
            _set("joint_weights", to=[1.0] * 4),
            "",
            "joint_weights must be a list of 3 numbers, one per keypoint, got 4 numbers",
            id="too many weights",
        ),
        pytest.param(_set("sigmas", 1, to=0), "sigmas[1]", "input should be greater than 0, got 0", id="sigma 0"),
        pytest.param(
            _set("sigmas", 1, to=float("nan")), "sigmas[1]", "input should be a finite number, got nan", id="sigma nan"
        ),
        pytest.param(
            _set("keypoints", 2, "color", to=[0, 0, 256]),
            "keypoints[2].color[2]",
            "input should be less than or equal to 255, got 256",
            id="color out of range",
        ),
        pytest.param(
            _set("category", "id", to=0), "category.id", "input should be greater than or equal to 1, got 0", id="id 0"
        ),
        pytest.param(
            _only(name="cat", keypoints=[]),
            "keypoints",
            "keypoints must be at least one name: only a category beside one with",
            id="no keypoints",
        ),
        pytest.param(_set("keypoints", 0, "name", to=" nose"), "keypoints[0].name", "got ' nose'", id="blank in name"),
        pytest.param(_set("name", to="a/b"), "name", "got 'a/b'", id="name that is no file name"),
        pytest.param(
            _set("swap", to=[[0, 1]]), "swap", "extra inputs are not permitted, got [[0, 1]]", id="unknown field"
        ),
        pytest.param(_set("keypoints", to=None), "keypoints", "field required", id="no keypoints at all"),
        pytest.param(
            _set("keypoints", 0, to={"swap": "x"}), "keypoints[0].name", "field required", id="no point's name"
        ),
        pytest.param(
            _set("keypoints", to="nose,left-ear"),
            "keypoints",
            "input should be a valid list, got 'nose,left-ear'",
            id="text in place of a list",
        ),
        pytest.param(
            _set("keypoints", to={"nose": {}, "tail": {}}),
            "keypoints",
            "input should be a valid list, got a mapping",
            id="mapping in place of a list",
        ),
        pytest.param(
            _set("keypoints", 1, to=["left-ear", "right-ear"]),
            "keypoints[1]",
            "must be a mapping, a value for each key, got a list",
            id="list in place of a keypoint",
        ),
        pytest.param(_set("sigmas", to=0.05), "sigmas", "input should be a valid list, got 0.05", id="one sigma"),
        pytest.param(_set("flip", to="no thanks"), "flip", "should be a valid boolean, got 'no thanks'", id="flip"),
        pytest.param(
            _set("keypoints", to=["left-shoulder", "right-sholder"]),
            "",
            "keypoints must say whether 'left-shoulder' and 'right-sholder' are a left/right pair: write "
            "- {name: left-shoulder, swap: right-sholder}, - {name: right-sholder, swap: left-shoulder} if they are, "
            "- {name: left-shoulder} if not",
            id="plain names that may be a pair",
        ),
    ],
)
def test_refusals_say_where_and_why(tmp_path: Path, mutate: Mutation, place: str, problem: str) -> None:
    document = _document()
    mutate(document)
    path = _write(tmp_path, document)
    with pytest.raises(InputError) as caught:
        read_skeleton(path)
    assert caught.value.path == path
    assert caught.value.place == place
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        (b"a: [1", "line 1, column 6", "is not valid YAML"),
        (b"- 1", "", "must be a mapping, a value for each key, got a list"),
        (b"name dog, keypoints nose", "", "must be a mapping, a value for each key, got a text"),
        (b"", "", "must be a mapping, a value for each key, got nothing"),
        (b"\xff\xfe\x00", "byte 2", "text must be the encoding of its byte order mark, but this byte is not valid"),
        (b"- " * 5000, "", "is nested too deeply"),
        (b"name: 2001-02-30", "", "is not valid YAML: a value is invalid: day is out of range for month"),
        (b"name: !!bool x", "", "is not valid YAML: a value is invalid: 'x'"),
        (b"name: !!timestamp x", "", "is not valid YAML: a value is invalid"),
        (b"name: !!python/object:os.system {}", "line 1", "could not determine a constructor"),
    ],
)
def test_files_that_are_no_skeleton(tmp_path: Path, content: bytes, place: str, problem: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_skeleton(path)
    assert caught.value.place.startswith(place)
    assert problem in caught.value.problem


def test_missing_file_and_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.yaml: cannot be read"):
        read_skeleton(tmp_path / "no.yaml")
    with pytest.raises(RequestError, match=r"skeleton must be one of car8, coco17 or the path .*got 'car9'") as caught:
        load_skeleton("car9")
    assert "posetools skeleton new" in str(caught.value)


def test_what_follows_from_the_names(tmp_path: Path) -> None:
    skeleton = load_skeleton(_write(tmp_path, _document()))
    assert skeleton.num_keypoints == 3
    assert skeleton.names == ("nose", "left-ear", "right-ear")
    assert skeleton.index == {"nose": 0, "left-ear": 1, "right-ear": 2}
    assert skeleton.flip_indices == (0, 2, 1)
    assert skeleton.has_swaps
    assert skeleton.edges == ((0, 1), (0, 2))
    assert skeleton.coco_edges == [[1, 2], [1, 3]]


def test_a_name_and_names_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "dog.yaml"
    path.write_text("name: dog\nkeypoints: [nose, left-ear, right-ear]\n", encoding="utf-8")
    skeleton = read_skeleton(path)
    assert skeleton.category.model_dump() == {"name": "dog", "id": 1}
    assert skeleton.flip_indices == (0, 2, 1) and skeleton.mirrors
    assert skeleton.sigmas == (0.05,) * 3 and skeleton.joint_weights == (1.0,) * 3
    path.write_text(dump_skeleton(skeleton), encoding="utf-8")
    assert read_skeleton(path) == skeleton
    path.write_text("name: d1\ncategory: dog\nkeypoints: [{name: a, swap: b}, {name: b, swap: a}, left-ear, c]\n")
    skeleton = read_skeleton(path)
    assert skeleton.category.name == "dog"
    assert skeleton.flip_indices == (1, 0, 2, 3)


def test_plain_names_without_a_side_leave_mirroring_off_where_others_have_one(tmp_path: Path) -> None:
    names = ["left_eye", "right_eye", *(f"face-{number}" for number in range(68))]
    path = _write(tmp_path, {"name": "face", "keypoints": names})
    skeleton = read_skeleton(path)
    assert skeleton.pairs == (("left_eye", "right_eye"),)
    assert skeleton.flip is False and not skeleton.mirrors
    assert "flip: false\n" in dump_skeleton(skeleton)
    assert read_skeleton(_write(tmp_path, {"name": "face", "keypoints": names, "flip": True})).mirrors


@pytest.mark.parametrize("flip", [True, False])
def test_flip_is_kept_and_left_out_where_the_file_says_nothing(tmp_path: Path, flip: bool) -> None:
    skeleton = read_skeleton(_write(tmp_path, _document() | {"flip": flip}))
    assert skeleton.mirrors == flip
    path = tmp_path / "again.yaml"
    path.write_text(commented_yaml(skeleton), encoding="utf-8")
    assert read_skeleton(path) == skeleton
    assert Skeleton.model_validate(skeleton.model_dump(mode="json")) == skeleton
    # Versions that do not know the key read what has none.
    assert "flip" not in read_skeleton(_write(tmp_path, _document())).model_dump(mode="json")


@pytest.mark.parametrize("name", BUILT_IN)
def test_dump_is_the_inverse_of_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "again.yaml"
    path.write_text(dump_skeleton(load_skeleton(name)), encoding="utf-8")
    assert read_skeleton(path) == load_skeleton(name)


@pytest.mark.parametrize("name", BUILT_IN)
def test_flips_of_the_built_ins_are_involutions_between_sides(name: str) -> None:
    skeleton = load_skeleton(name)
    flips = skeleton.flip_indices
    assert sorted(flips) == list(range(skeleton.num_keypoints))
    assert all(flips[flips[i]] == i for i in range(skeleton.num_keypoints))
    assert swaps(skeleton.names) == {point.name: point.swap for point in skeleton.keypoints if point.swap}


def test_car8_has_neither_error_of_the_recipe_it_replaces() -> None:
    car8 = load_skeleton()
    assert car8.flip_indices == (4, 5, 6, 7, 0, 1, 2, 3)
    assert car8.links[3].points == ("right-front-tire", "right-rear-tire")
    assert len({frozenset(edge) for edge in car8.edges}) == 4
    assert [point.color for point in car8.keypoints][-1] == (16, 144, 247)
    assert car8.category.model_dump() == {"name": "car", "id": 1}


@pytest.mark.train
@pytest.mark.parametrize("name", BUILT_IN)
def test_mmpose_understands_the_metainfo(name: str) -> None:
    from mmpose.datasets.datasets.utils import parse_pose_metainfo

    skeleton = load_skeleton(name)
    parsed = parse_pose_metainfo(skeleton.metainfo())
    assert parsed["num_keypoints"] == skeleton.num_keypoints
    assert tuple(parsed["flip_indices"]) == skeleton.flip_indices
    assert parsed["sigmas"].tolist() == pytest.approx(skeleton.sigmas)
    assert parsed["dataset_keypoint_weights"].tolist() == pytest.approx(skeleton.joint_weights)
    assert tuple(parsed["keypoint_id2name"].values()) == skeleton.names
    assert [tuple(link) for link in parsed["skeleton_links"]] == list(skeleton.edges)
    assert parsed["keypoint_colors"].tolist() == [list(point.color) for point in skeleton.keypoints]


# Files to start from.


@pytest.mark.parametrize(
    ("name", "mirrored"),
    [
        ("left-ear", "right-ear"),
        ("ear_r", "ear_l"),
        ("L_eye", "R_eye"),
        ("Left Eye", "Right Eye"),
        ("front.RIGHT", "front.LEFT"),
        ("leftover", "leftover"),
        ("nose", "nose"),
        ("lip", "lip"),
    ],
)
def test_mirrored_names(name: str, mirrored: str) -> None:
    assert swaps([name, mirrored]) == ({} if name == mirrored else {name: mirrored, mirrored: name})


def test_draft_derives_swaps_only_where_both_sides_are_there(tmp_path: Path) -> None:
    draft = draft_skeleton("dog", ["nose", "left-ear", "right-ear", "left-scar"], "dog").skeleton
    assert draft.flip is False
    assert [point.swap for point in draft.keypoints] == [None, "right-ear", "left-ear", None]
    assert len({point.color for point in draft.keypoints}) == 4
    path = tmp_path / "dog.yaml"
    path.write_text(commented_yaml(draft), encoding="utf-8")
    assert read_skeleton(path) == draft
    assert "# links:" in path.read_text(encoding="utf-8")


def test_commented_copy_of_a_built_in_is_the_built_in_under_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "van.yaml"
    path.write_text(commented_yaml(load_skeleton().model_copy(update={"name": check_name(path)})), encoding="utf-8")
    assert read_skeleton(path).model_dump() == {**load_skeleton().model_dump(), "name": "van"}


@pytest.mark.parametrize(
    ("names", "category", "part"),
    [
        (["a", "a"], "x", "name must be unique, got 'a' 2 times"),
        (["a", ""], "x", "at least 1 character"),
        (["a"], "", "at least 1 character"),
    ],
)
def test_draft_refuses_what_no_skeleton_can_have(names: list[str], category: str, part: str) -> None:
    with pytest.raises(RequestError, match="keypoints and category must be valid for a skeleton") as caught:
        draft_skeleton("x", names, category)
    assert part in str(caught.value)


def test_file_name_must_be_a_skeleton_name() -> None:
    with pytest.raises(RequestError, match="FILE must be a file name of letters, digits"):
        check_name(Path("my cars.yaml"))


def test_skeletons_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_skeleton().name = "x"
    assert isinstance(load_skeleton(), Skeleton)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_ones_are_the_same_by_either_parser(name: str) -> None:
    assert load_skeleton(name) == read_skeleton(built_in_path(name))


@pytest.mark.parametrize("degrees", [0, 45, 180])
def test_rotation_is_kept_and_left_out_where_the_file_says_none(tmp_path: Path, degrees: int) -> None:
    path = _write(tmp_path, _document() | {"rotation": degrees})
    skeleton = read_skeleton(path)
    assert skeleton.rotation == degrees
    path.write_text(commented_yaml(skeleton), encoding="utf-8")
    assert read_skeleton(path) == skeleton
    assert Skeleton.model_validate(skeleton.model_dump(mode="json")) == skeleton
    # Versions that do not know the key read what has none.
    assert "rotation" not in read_skeleton(_write(tmp_path, _document())).model_dump(mode="json")


@pytest.mark.parametrize("degrees", [-1, 181, 22.5, "far"])
def test_rotation_is_a_number_of_degrees(tmp_path: Path, degrees: object) -> None:
    with pytest.raises(InputError, match="rotation"):
        read_skeleton(_write(tmp_path, _document() | {"rotation": degrees}))
