"""Hints about labels and about what belongs together, followed in labelme files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.following.case import AROUND_BOTH, BOTH, FISH, NAMES, POINTS, Case, fish
from tests.following.sources import SKELETON, fish_shapes, labelme, shape, skeleton, write_labelme


def _renamed(**labels: str) -> list[dict[str, Any]]:
    return fish_shapes(labels={name.replace("_", "-"): label for name, label in labels.items()})


def _with(*more: dict[str, Any]) -> list[dict[str, Any]]:
    return [*fish_shapes(), *more]


def _without(*names: str, group: int | None = 1) -> list[dict[str, Any]]:
    return [one for one in fish_shapes(group) if one["label"] not in names]


def _crowned(label: str, **more: Any) -> list[dict[str, Any]]:
    return [one if one["label"] != "nose" else {**one, "label": label, **more} for one in fish_shapes()]


def _numbered(ending: str) -> list[dict[str, Any]]:
    """Return the fish without a group, with the same suffix on each of its labels."""
    return fish_shapes(None, {name: name + ending for name in ("fish", *NAMES)})


def _in_one(shapes: list[dict[str, Any]]) -> list[str]:
    """Write the unchanged fish in a.png, and these shapes in b.png."""
    words = labelme()
    write_labelme(Path("src/b.json"), shapes)
    return words


HIDDEN_NOSE = {name: [fish(nose=(20.0, 40.0, 1))] for name in BOTH}
NO_NOSE = {name: [fish(nose=None)] for name in BOTH}


CASES = [
    Case("a slip in one file", lambda: _in_one(_renamed(tail="tial")), ("--map 'tial=tail'",)),
    Case(
        "a word of visibility in one file",
        lambda: _in_one(_crowned("nose-occluded")),
        ("--label-pattern *",),
        want={"a.png": [FISH], "b.png": [fish(nose=(20.0, 40.0, 1))]},
    ),
    Case("a slip", lambda: labelme(_renamed(tail="tial")), ("--map 'tial=tail'",)),
    Case(
        "a slip, left out",
        lambda: labelme(_with(shape("tial", (5, 5)))),
        (),
        again=("src", *SKELETON, "--ignore", "tial"),
    ),
    Case("another name", lambda: labelme(_renamed(tail="caudal")), ("--map 'caudal=NAME'",), {"NAME": "tail"}),
    Case("another thing", lambda: labelme(_with(shape("rock", (5, 5)))), ("--ignore 'rock'",)),
    Case(
        "another skeleton",
        lambda: [*labelme()[:1], *skeleton("dog.yaml", ("snout", "ear"), "dog")],
        ("posetools skeleton new fish-2.yaml --category fish --keypoints *", "--skeleton fish-2.yaml"),
    ),
    Case(
        "a word of visibility behind the name",
        lambda: labelme(_crowned("nose-occluded")),
        ("--label-pattern '(?P<name>.+?)-(?P<visibility>occluded|visible|hidden)'",),
        want=HIDDEN_NOSE,
    ),
    Case(
        "a number behind the name, of the object",
        lambda: labelme(_numbered("-1")),
        ("--label-pattern '(?P<name>.+?)-(?P<instance>\\d+)'",),
    ),
    Case(
        "a word behind the name, left out",
        lambda: labelme(_crowned("nose-occluded")),
        (),
        again=("src", *SKELETON, "--ignore", "nose-occluded"),
        want=NO_NOSE,
    ),
    Case(
        "a pattern that lacks one",
        lambda: labelme(_crowned("nose.hidden"), "--label-pattern", r"(?P<name>.+?)(?::(?P<visibility>[012]))?"),
        ("as in --label-pattern *",),
        want=HIDDEN_NOSE,
    ),
    Case(
        "a map that loses the visibility",
        lambda: labelme(_crowned("nose-occluded"), "--map", "nose-occluded=nose"),
        ("--label-pattern *",),
        leave_out=("--map", "nose-occluded=nose"),
        want=HIDDEN_NOSE,
    ),
    Case(
        "a map to another name that loses the visibility",
        lambda: labelme(_crowned("snout-occluded"), "--map", "snout-occluded=nose"),
        ("--map 'snout=nose' --label-pattern *",),
        leave_out=("--map", "snout-occluded=nose"),
        want=HIDDEN_NOSE,
    ),
    Case(
        "wildcards that contradict",
        lambda: labelme(_crowned("nez"), "--map", "ne*=nose", "--map", "*z=tail"),
        ("--map 'nez=NAME'",),
        {"NAME": "nose"},
    ),
    Case(
        "a word that means hidden",
        lambda: labelme(_crowned("nose:unseen"), "--label-pattern", "(?P<name>.+?)(?::(?P<visibility>.+))?"),
        ("--hidden-flag WORD",),
        {"WORD": "unseen"},
        want=HIDDEN_NOSE,
    ),
    Case("no box", lambda: labelme(_without("fish")), ("--box-from keypoints",), want=AROUND_BOTH),
    Case(
        "no box, one object per image",
        lambda: labelme(_without("fish", group=None), "--one-object-per-image"),
        ("--box-from keypoints",),
        want=AROUND_BOTH,
    ),
    Case(
        "a box of one keypoint",
        lambda: labelme([shape("nose", POINTS["nose"], group_id=1)], "--box-from", "keypoints"),
        ("--box-margin 20px",),
        want={name: [((0.0, 20.0, 40.0, 40.0), {"nose": (20.0, 40.0, 2)})] for name in BOTH},
    ),
    Case(
        "points without group or box",
        lambda: labelme(_without("fish", group=None)),
        ("--one-object-per-image",),
        want="E306",
    ),
    Case(
        "two objects of one image",
        lambda: labelme([*fish_shapes(), shape("fish", (80, 60), (95, 75), group_id=2)], "--one-object-per-image"),
        ("leave out --one-object-per-image",),
        again=("src", *SKELETON),
        want={name: [fish(), ((80.0, 60.0, 15.0, 15.0), {})] for name in BOTH},
    ),
    Case(
        "a keypoint twice in an image of one object",
        lambda: labelme(
            [*fish_shapes(), shape("nose", (85, 65), group_id=2), shape("fish", (80, 60), (95, 75), group_id=2)][:6],
            "--one-object-per-image",
            "--box-from",
            "keypoints",
        ),
        ("leave out --one-object-per-image",),
        again=("src", *SKELETON, "--box-from", "keypoints"),
        want={name: [fish(), ((40.0, 20.0, 60.0, 60.0), {"nose": (85.0, 65.0, 2)})] for name in BOTH},
    ),
]
