"""What a CVAT file says of its categories: the label tree, as CVAT itself writes it, and the labels of shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import posetools.formats.cvat.format as cvat
from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError
from posetools.formats.declared import DeclaredCategory
from posetools.formats.options import ReadOptions
from tests.build import make_dataset
from tests.formats.cvat.test_cvat import box, document, image, point, save, skeleton

CAR8 = load_skeleton("car8")


def label(name: str, kind: str, *, parent: str = "", svg: str = "") -> str:
    more = f"<svg>{svg.replace('<', '&lt;').replace('>', '&gt;')}</svg>" if svg else ""
    more += f"<parent>{parent}</parent>" if parent else ""
    color = "<color>#fa3253</color>"
    return f"<label><name>{name}</name>{color}<type>{kind}</type><attributes></attributes>{more}</label>"


def drawing(nodes: dict[int, int], lines: list[tuple[int, int]]) -> str:
    """Return the SVG of a skeleton: node -> the id of its label, and lines between nodes."""
    circles = "".join(
        f'<circle r="0.75" cx="40" cy="30" data-type="element node" data-element-id="{node}" data-node-id="{node}" '
        f'data-label-id="{number}"></circle>'
        for node, number in nodes.items()
    )
    drawn = "".join(
        f'<line x1="40" y1="30" x2="50" y2="60" data-type="edge" data-node-from="{a}" data-node-to="{b}"></line>'
        for a, b in lines
    )
    return drawn + circles


def labeled(labels: str, *images: str) -> str:
    meta = f"<meta><task><id>7</id><name>dogs</name><labels>{labels}</labels></task><dumped>2024</dumped></meta>"
    return document(*images).replace("</version>", f"</version>{meta}")


def declared(*sources: Path, **options: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.name, one.keypoints) for one in full(*sources, **options)]


def full(*sources: Path, **options: Any) -> list[DeclaredCategory]:
    assert cvat.FORMAT.declared is not None
    return list(cvat.FORMAT.declared(sources, ReadOptions(**options)))


DOG = [
    label("dog-box", "rectangle"),
    label("dog", "skeleton", svg=drawing({1: 31, 2: 33, 3: 32}, [(1, 2), (2, 3)])),
    *(label(name, "points", parent="dog") for name in ("nose", "left ear", "tail")),
]


def test_the_label_tree_gives_names_order_and_links(tmp_path: Path) -> None:
    """Its circles name a label by its id; the ids count the sublabels."""
    shapes = (box(0, 0, 99, 99, label="dog-box"), skeleton(point("tail", 9, 9), point("nose", 9, 9), label="dog"))
    file = save(tmp_path, labeled("".join(DOG), image(*shapes)))
    (dog,) = full(tmp_path)
    assert (dog.name, dog.keypoints, dog.where) == ("dog", ("nose", "left ear", "tail"), str(file))
    assert dog.links == ((0, 2), (2, 1)), "nose - tail, tail - left ear"
    assert dog.flip_idx is None and dog.sigmas is None and dog.named


def test_several_tasks_and_labels(tmp_path: Path) -> None:
    cat = [label("cat", "skeleton"), label("nose", "points", parent="cat"), label("paw", "points", parent="cat")]
    unused = [label("horse", "skeleton"), label("hoof", "points", parent="horse"), label("night", "tag")]
    tree = "".join([*DOG, *cat, label("bowl", "rectangle"), label("lead", "polyline"), *unused])
    dog = skeleton(point("nose", 9, 9), label="dog", group_id=1)
    boxes = box(0, 0, 9, 9, label="bowl"), box(0, 0, 9, 9, label="animal", group_id=1)
    save(tmp_path, labeled(tree, image(dog, *boxes)), "task_1/annotations.xml")
    save(tmp_path, labeled(tree, image(skeleton(point("paw", 9, 9), label="cat"))), "task_2/annotations.xml")
    both = [("dog", ("nose", "left ear", "tail")), ("cat", ("nose", "paw"))]
    assert declared(tmp_path) == [*both, ("bowl", ())]
    assert declared(tmp_path / "task_1", tmp_path / "task_2", categories=("cat",)) == both[1:]
    assert declared(tmp_path, ignore={"bowl", "cat", "tail"}, names={"dog": "pet"}) == [("pet", ("nose", "left ear"))]


def test_nothing_is_labeled_yet(tmp_path: Path) -> None:
    save(tmp_path, labeled("".join(DOG), image()))
    assert declared(tmp_path) == [("dog", ("nose", "left ear", "tail"))]


def test_labels_without_skeletons(tmp_path: Path) -> None:
    """Rectangles are categories; the tree gives the order of the points and those that no object has."""
    shapes = [box(0, 0, 99, 99, label="dog"), point("tail", 9, 9), point("nose", 9, 9)]
    typed = [label("dog", "rectangle"), *(label(name, "points") for name in ("nose", "ear", "tail"))]
    save(tmp_path, labeled("".join(typed), image(*shapes)))
    assert declared(tmp_path) == [("dog", ("nose", "ear", "tail"))]
    free = [label(name, "any") for name in ("nose", "ear", "tail", "dog")]
    save(tmp_path, labeled("".join(free), image(*shapes)))
    assert declared(tmp_path) == [("dog", ("nose", "tail"))]


def test_a_point_belongs_to_the_category_of_its_box(tmp_path: Path) -> None:
    shapes = [
        *(box(0, 0, 99, 99, label="dog"), point("nose", 9, 9), point("tail", 8, 9)),
        *(box(50, 50, 200, 200, label="cat", group_id=3), point("nose", 60, 60, group_id=3)),
    ]
    save(tmp_path, document(image(*shapes)))
    assert declared(tmp_path) == [("dog", ("nose", "tail")), ("cat", ("nose",))]


def test_a_file_without_labels(tmp_path: Path) -> None:
    """Other programs write no ``meta``: the shapes' own labels count, in the order of their first appearance."""
    save(tmp_path, document(image(skeleton(point("b", 9, 9), point("a", 9, 9), label="s")), image(box(0, 0, 9, 9))))
    assert declared(tmp_path) == [("s", ("b", "a")), ("car-box", ())]
    track = '<track id="0" label="dog"><skeleton frame="0"><points label="nose" outside="0" points="1,1"/></skeleton>'
    save(tmp_path, f"<annotations>{track}</track></annotations>")
    assert declared(tmp_path) == [("dog", ("nose",))]


def test_a_label_that_may_be_misspelled(tmp_path: Path) -> None:
    right = image(box(0, 0, 99, 99, label="dog"), point("left-ear", 9, 9), point("right-ear", 8, 9))
    wrong = image(box(0, 0, 99, 99, label="dog"), point("left-earr", 9, 9), point("right-ear", 8, 9))
    file = save(tmp_path, document(*[right] * 9, wrong))
    with pytest.raises(RequestError) as caught:
        declared(tmp_path)
    assert str(caught.value) == (
        f"{file}: keypoint 'left-earr' of 'dog' must be spelled unlike 'left-ear', got 1 object with 'left-earr' and 9 "
        "with 'left-ear'\n"
        "  fix: --map 'left-earr=left-ear', if both mean the same; --map 'left-earr=left-earr' keeps it; "
        "--ignore 'left-earr' leaves it out"
    )
    assert declared(tmp_path, names={"left-earr": "left-ear"}) == [("dog", ("left-ear", "right-ear"))]
    assert declared(tmp_path, names={"left-earr": "left-earr"}) == [("dog", ("left-ear", "right-ear", "left-earr"))]
    assert declared(tmp_path, ignore={"left-earr"}) == [("dog", ("left-ear", "right-ear"))]


def test_what_posetools_writes(tmp_path: Path) -> None:
    cvat.write({"train": make_dataset(tmp_path / "in")}, tmp_path / "out", "copy")
    (car,) = full(tmp_path / "out")
    assert (car.name, car.keypoints, car.links) == ("car", CAR8.names, tuple(CAR8.edges))
