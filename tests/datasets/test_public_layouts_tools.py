"""Projects of labeling tools, laid out as they are published: one command makes a valid data set, no file is written.

Each stand-in has the key names, header lines and label names of a published project, and images of noise.
"""

from __future__ import annotations

import contextlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from posetools.core.folder import categories_of
from posetools.core.skeleton import Skeleton, read_skeleton
from tests.build import make_image
from tests.cli.run import run
from tests.formats.cvat.test_cvat import box, image, point, skeleton
from tests.formats.cvat.test_cvat_declared import drawing, label
from tests.formats.label_studio.test_label_studio import dot, rect, task

WHEEL = ("hub", "left_rim", "right_rim")
NO_BOXES = ("--assume-visible", "--box-from", "keypoints")
SIZE = (320, 240)


def converted(source: Path, *options: str) -> Skeleton:
    """Return the skeleton of the data set that one command makes of a source; ``validate`` finds no error in it."""
    out = source.parent / "out"
    done = run("convert", source, "--out", out, *options)
    assert done.status == 0, done.words
    checked = run("validate", out)
    assert checked.status == 0, checked.words
    made = read_skeleton(out / "skeleton.yaml")
    names: dict[str, set[str]] = {"images": set(), "keypoints": set()}
    for path in out.glob("*_coco.json"):
        document = json.loads(path.read_text())
        (category,) = document["categories"]
        assert category["name"] == made.category.name and category["keypoints"] == list(made.names)
        names["images"] |= {one["file_name"] for one in document["images"]}
        names["keypoints"] |= {
            name
            for one in document["annotations"]
            for name, v in zip(category["keypoints"], one["keypoints"][2::3], strict=True)
            if v
        }
    assert len(names["images"]) == 4 and names["keypoints"] == set(made.names)
    return made


def several(source: Path) -> dict[str, tuple[int, tuple[str, ...], int]]:
    """Return name -> id, keypoints and number of objects of each category of the valid set that one command makes."""
    out = source.parent / "out"
    for command in (("convert", source, "--out", out), ("validate", out)):
        done = run(*command)
        assert done.status == 0, done.words
    found = {one.category.name: (number, one.names) for number, one in categories_of(out).items()}
    objects = dict.fromkeys(found, 0)
    for path in out.glob("*_coco.json"):
        coco = COCO(str(path))
        for category in coco.loadCats(coco.getCatIds()):
            number, names = found[category["name"]]
            assert (number, names) == (category["id"], tuple(category["keypoints"]))
            own = coco.loadAnns(coco.getAnnIds(catIds=[number]))
            assert all(len(one["keypoints"]) == 3 * one["num_keypoints"] == 3 * len(names) for one in own)
            objects[category["name"]] += len(own)
    return {name: (*known, objects[name]) for name, known in found.items()}


CONFIG = """\
    # Project definitions (do not edit)
Task: openfield
scorer: Pranav
date: Aug20
multianimalproject: false
identity:

    # Project path (change when moving around)
project_path: /data/openfield-Pranav-2018-08-20

    # Annotation data set configuration (and individual video cropping parameters)
video_sets:
  /data/openfield-Pranav-2018-08-20/videos/m1s1.mp4:
    crop: 0, 640, 0, 480
bodyparts:
- snout
- leftear
- rightear
- tailbase

    # Plotting configuration
skeleton:
- - snout
  - leftear
- - snout
  - rightear
- - tailbase
  - snout
skeleton_color: black
pcutoff: 0.6
"""


def test_a_deeplabcut_project(tmp_path: Path) -> None:
    project = tmp_path / "openfield-Pranav-2018-08-20"
    frames = project / "labeled-data/m1s1"
    parts = ["snout", "leftear", "rightear", "tailbase"]
    heads = [
        ",".join(["scorer", "", "", *["Pranav"] * 8]),
        ",".join(["bodyparts", "", "", *(part for part in parts for _ in "xy")]),
        ",".join(["coords", "", "", *["x", "y"] * 4]),
    ]
    rows = []
    for number in range(4):
        make_image(frames / f"img{number:04d}.png", SIZE, seed=number)
        rows.append(f"labeled-data,m1s1,img{number:04d}.png,{50 + number}.5,60.0,40,70,62,70,120,130")
    (frames / "CollectedData_Pranav.csv").write_text("\n".join([*heads, *rows, ""]))
    (project / "config.yaml").write_text(CONFIG)
    made = converted(project, *NO_BOXES)
    assert (made.name, made.category.name, made.names) == ("openfield", "openfield", tuple(parts))
    assert made.pairs == (("leftear", "rightear"),)
    assert made.edges == ((0, 1), (0, 2), (3, 0))


@pytest.mark.skipif(find_spec("sleap_io") is None, reason="needs the extra sleap (sleap-io)")
def test_a_sleap_project(tmp_path: Path) -> None:
    """The names of SLEAP's fly: its symmetries are read, not guessed."""
    import sleap_io as sio

    project = tmp_path / "flies"
    names = ["head", "thorax", "wingL", "wingR", "forelegL4", "forelegR4"]
    pairs = [("wingL", "wingR"), ("forelegL4", "forelegR4")]
    nodes = sio.Skeleton(
        list(names), edges=[("thorax", "head"), ("thorax", "wingL")], symmetries=list(pairs), name="fly13"
    )
    images = [make_image(project / f"{number}.png", SIZE, seed=number).name for number in range(4)]
    points = np.random.default_rng(0).uniform(50, 150, (4, len(names), 2))
    with contextlib.chdir(project):
        video = sio.Video.from_filename(images)
        frames = [
            sio.LabeledFrame(video=video, frame_idx=at, instances=[sio.Instance.from_numpy(xy, skeleton=nodes)])
            for at, xy in enumerate(points)
        ]
        sio.save_slp(sio.Labels(frames, videos=[video], skeletons=[nodes]), "labels.v001.slp", verbose=False)
    made = converted(project, *NO_BOXES)
    assert (made.category.name, made.names) == ("fly13", tuple(names))
    assert set(made.pairs) == set(pairs) and made.edges == ((1, 0), (1, 2))


def test_a_cvat_project_of_two_tasks(tmp_path: Path) -> None:
    """One file for both tasks, whose images are in subsets; the drawing names the labels by their ids."""
    project = tmp_path / "project"
    names = ("nose", "left_eye", "right_eye", "left_paw", "right_paw")
    nodes = {number: 100 + number for number in range(1, 6)}
    labels = [
        label("cat", "skeleton", svg=drawing(nodes, [(1, 2), (1, 3), (4, 5)])),
        *(label(name, "points", parent="cat") for name in names),
        label("cat-box", "rectangle"),
    ]
    tasks = "".join(f"<task><id>{number}</id><name>t{number}</name><size>2</size></task>" for number in (8, 9))
    meta = f"<project><id>3</id><name>cats</name><tasks>{tasks}</tasks><labels>{''.join(labels)}</labels></project>"
    entries = []
    for number, (subset, of_task) in enumerate([("Train", 8), ("Train", 8), ("Validation", 9), ("Validation", 9)]):
        make_image(project / f"images/{subset}/{number}.jpg", SIZE, seed=number)
        points = [point(name, 50 + 9 * at, 60 + number, occluded=at % 2) for at, name in enumerate(names)]
        shapes = box(30, 30, 150, 150, label="cat-box", group_id=1), skeleton(*points, label="cat", group_id=1)
        entries.append(image(*shapes, id=number, name=f"{number}.jpg", subset=subset, task_id=of_task))
    text = f"<annotations><version>1.1</version><meta>{meta}</meta>{''.join(entries)}</annotations>"
    (project / "annotations.xml").write_text(text)
    made = converted(project)
    assert (made.category.name, made.names) == ("cat", names)
    assert set(made.pairs) == {("left_eye", "right_eye"), ("left_paw", "right_paw")}
    assert made.edges == ((0, 1), (0, 2), (3, 4))


def test_a_cvat_project_of_two_tasks_with_a_skeleton_each(tmp_path: Path) -> None:
    project = tmp_path / "project"
    cat = ("nose", "left_eye", "right_eye")
    labels = [label("cat-box", "rectangle"), label("wheel-box", "rectangle")]
    for number, (name, points) in enumerate((("wheel", WHEEL), ("cat", cat))):
        nodes = {place: 10 * number + place for place in range(1, 4)}
        labels += [label(name, "skeleton", svg=drawing(nodes, [(1, 2), (1, 3)]))]
        labels += [label(point_name, "points", parent=name) for point_name in points]
    meta = f"<project><id>3</id><name>both</name><labels>{''.join(labels)}</labels></project>"
    entries = []
    for number, (name, named) in enumerate([("wheel", WHEEL), ("cat", cat)] * 2):
        make_image(project / f"images/{number}.jpg", SIZE, seed=number)
        parts = [point(part, 50 + 9 * at, 60 + number, occluded=at % 2) for at, part in enumerate(named)]
        shapes = box(30, 30, 150, 150, label=f"{name}-box", group_id=1), skeleton(*parts, label=name, group_id=1)
        entries.append(image(*shapes, id=number, name=f"{number}.jpg", task_id=number % 2))
    text = f"<annotations><version>1.1</version><meta>{meta}</meta>{''.join(entries)}</annotations>"
    (project / "annotations.xml").write_text(text)
    assert several(project) == {"wheel": (1, WHEEL, 2), "cat": (2, cat, 2)}
    wheel, _ = categories_of(tmp_path / "out").skeletons
    assert (wheel.pairs, wheel.edges) == ((("left_rim", "right_rim"),), ((0, 1), (0, 2)))


INTERFACE = """\
<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="bbox" toName="image"><Label value="Cow" background="#FFA39E"/></RectangleLabels>
  <KeyPointLabels name="kp" toName="image">
    <Label value="Nose" background="#FFA39E"/><Label value="Ear L"/><Label value="Ear R"/><Label value="Tail"/>
  </KeyPointLabels>
  <Relations><Relation value="part of"/></Relations>
</View>
"""


def test_a_label_studio_project_with_relations(tmp_path: Path) -> None:
    """Points are joined with their box by relations, in either direction; the configuration is next to the export."""
    project = tmp_path / "project-12"
    tasks = []
    for number in range(4):
        make_image(project / f"images/{number}.jpg", SIZE, seed=number)
        regions: list[dict[str, Any]] = [rect("b", 10, 10, 60, 60, label="Cow")]
        for at, name in enumerate(["Tail", "Ear R", "Ear L", "Nose"]):
            regions.append(dot(f"k{at}", name, 20 + 5 * at, 30 + number))
            ends = {"from_id": f"k{at}", "to_id": "b"} if at % 2 else {"from_id": "b", "to_id": f"k{at}"}
            regions.append({"type": "relation", "direction": "right", "labels": ["part of"], **ends})
        tasks.append(task(*regions, image=f"/data/upload/12/1a2b3c4d-{number}.jpg", id=number + 1))
    (project / "project-12-at-2024-05-01.json").write_text(json.dumps(tasks))
    (project / "label_config.xml").write_text(INTERFACE)
    made = converted(project)
    assert (made.category.name, made.names) == ("Cow", ("Nose", "Ear L", "Ear R", "Tail"))
    assert made.pairs == (("Ear L", "Ear R"),)


def test_a_label_studio_project_of_two_categories_whose_points_overlap(tmp_path: Path) -> None:
    """A point in both boxes is of the object that it is joined with, and of the category whose other points are so."""
    project = tmp_path / "project-13"
    tasks = []
    for number in range(4):
        make_image(project / f"images/{number}.jpg", SIZE, seed=number)
        regions: list[dict[str, Any]] = []
        for name, parts in (("Cow", ("Nose", "Ear L", "Ear R")), ("wheel", WHEEL)):
            regions.append(rect(name, 10, 10, 60, 60, label=name))
            for at, part in enumerate(parts):
                regions.append(dot(f"{name}{at}", part, 20 + 5 * at, 30 + number))
                regions.append({"type": "relation", "from_id": name, "to_id": f"{name}{at}", "direction": "right"})
        tasks.append(task(*regions, image=f"/data/upload/13/1a2b3c4d-{number}.jpg", id=number + 1))
    (project / "project-13.json").write_text(json.dumps(tasks))
    assert several(project) == {"Cow": (1, ("Nose", "Ear L", "Ear R"), 4), "wheel": (2, WHEEL, 4)}
