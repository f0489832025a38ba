"""Findings with one cause are one finding with counts, and typing what its hint says reads the source."""

from __future__ import annotations

import json
import pickle
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from posetools.core.findings import Finding
from posetools.core.skeleton import load_skeleton
from posetools.formats.joined import RepeatedFinding, joined
from tests.build import make_dataset, make_image
from tests.cli.run import Done, run
from tests.converting import write_source, written
from tests.formats.labelme.test_labelme import Json, box, point

BEE = ("bee", "head,thorax,sting")

pytestmark = pytest.mark.usefixtures("bees")


@pytest.fixture
def bees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with bee.yaml: a bee of head, thorax and sting."""
    monkeypatch.chdir(tmp_path)
    assert run("skeleton", "new", "bee.yaml", "--names", BEE[1], "--category", BEE[0]).status == 0
    return tmp_path


def save(folder: str, name: str, *shapes: Json, **more: Any) -> None:
    make_image(Path(folder, f"{name}.jpg"), (320, 240), seed=sum(map(ord, name)))
    document = {"imagePath": f"{name}.jpg", "imageWidth": 320, "imageHeight": 240, "shapes": shapes, **more}
    Path(folder, f"{name}.json").write_text(json.dumps(document))


def bee(*more: Json, **labels: str) -> list[Json]:
    """Return a bee with some labels changed, and further shapes."""
    names = [labels.get(name, name) for name in ("bee", "head", "thorax", "sting")]
    places = ((20, 30), (50, 60), (80, 90))
    points = [point(name, x, y, 1) for name, (x, y) in zip(names[1:], places, strict=True)]
    return [box(10, 20, 110, 120, 1) | {"label": names[0]}, *points, *more]


def convert(source: str = "hive", *words: str) -> Done:
    return run("convert", source, "--skeleton", "bee.yaml", "--out", "out", "--overwrite", "--val", "0", *words)


def hint_of(out: Path = Path("out")) -> Finding:
    document = json.loads((out / "conversion.json").read_text())
    (finding,) = (one for one in document["findings"] if one["code"] == "E301")
    return Finding("E301", finding["file"], finding["place"], finding["message"], finding["hint"])


def typed(hint: str, *wanted: str) -> list[str]:
    """Return some options of a hint with their values; placeholders are left out."""
    words = shlex.split(hint.replace("; ", " "))
    pairs = [words[at : at + 2] for at, word in enumerate(words) if word in wanted]
    return [word for pair in pairs if "NAME" not in pair[1] and pair[1] != "FILE" for word in pair]


def points_of(out: str = "out") -> list[list[int]]:
    """Return the x of every keypoint of every object that was written."""
    return [row.tolist() for row in written(Path(out))["train"].keypoints[:, :, 0].astype(int)]


def test_unknown_labels_are_one_table() -> None:
    for number in range(30):
        save("hive", f"i{number:02}", *bee(point("wing", 5, 5), point("wing", 6, 5), point(f"mark{number % 4}", 9, 9)))
    save("hive", "z", *bee(point("driver's", 7, 7), sting="stign"))
    done = convert()
    assert done.status == 1 and "nothing was written: 1 error" in done.out
    assert "E301 unknown-label (1)" in done.out
    lines = [line.strip() for line in done.out.splitlines()]
    start = (
        "hive: labels must be the category 'bee' or keypoints of skeleton bee, got 7 other labels, 92 times in 31 files"
    )
    at = lines.index(start)
    assert lines[at + 1] == "'wing': 60 in 30 files, first hive/i00.json: shapes[4]"
    assert lines[at + 2] == "'mark0': 8 in 8 files, first hive/i00.json: shapes[6]"
    assert "'stign': 1, first hive/z.json: shapes[3]; may be 'sting'" in lines[at:]
    assert convert("hive", "--workers", "2").out == done.out
    # Type what the hint says.
    hint = lines[at + 8]
    words = typed(hint, "--map", "--ignore")
    assert words == ["--map", "stign=sting", "--ignore", "wing", "--ignore", "mark*", "--ignore", "driver's"]
    assert convert("hive", *words).status == 0
    assert points_of() == [[20, 50, 80]] * 31


def test_the_finding_in_the_record_holds_the_table() -> None:
    save("hive", "a", *bee(point("wing", 5, 5)))
    save("hive", "b", *bee(point("foot", 5, 5), point("wing", 6, 5)))
    save("hive", "c", *bee())
    assert convert("hive", "--keep-going").status == 1
    finding = hint_of()
    assert (finding.file, finding.place) == ("hive", "")
    assert finding.message == (
        "labels must be the category 'bee' or keypoints of skeleton bee, got 2 other labels, 3 times in 2 files: "
        "'wing': 2 in 2 files, first hive/a.json: shapes[4]; 'foot': 1, first hive/b.json: shapes[4]"
    )
    assert json.loads(Path("out/conversion.json").read_text())["finding_counts"] == {"E301": 1}
    assert len(points_of()) == 1


def test_one_unknown_label_keeps_its_place() -> None:
    save("hive", "a", *bee(point("driver's", 5, 5)))
    done = convert()
    assert "hive/a.json: shapes[4]: label must be the category 'bee' or a keypoint of skeleton bee" in done.out
    words = typed(done.words, "--ignore")
    assert words == ["--ignore", "driver's"] and convert("hive", *words).status == 0


def test_more_labels_than_are_listed() -> None:
    names = [chr(ord("a") + at) + "x" for at in range(25)]
    save("hive", "a", *bee(*(point(name, 5, 5) for name in names)))
    done = convert()
    assert "'tx': 1, first" in done.out and "'ux'" not in done.out and "and 5 more labels, 5 times" in done.out
    words = typed(done.words, "--categories")
    assert words == ["--categories", "bee"] and convert("hive", *words).status == 0
    assert points_of() == [[20, 50, 80]]
    assert "left out on purpose: yx (1)" in convert("hive", *words).out


@pytest.mark.parametrize("mapped", [("mark1=head",), ("m*1=head",)])
def test_a_wildcard_never_takes_what_is_mapped(mapped: Sequence[str]) -> None:
    save("hive", "a", *bee(*(point(f"mark{n}", 5, 5) for n in (2, 3, 4)), head="mark1"))
    maps = [word for one in mapped for word in ("--map", one)]
    done = convert("hive", *maps)
    assert done.status == 1
    words = typed(done.words, "--ignore")
    assert words == ["--ignore", "mark2", "--ignore", "mark3", "--ignore", "mark4"]
    assert convert("hive", *maps, *words).status == 0 and points_of() == [[20, 50, 80]]


def test_labels_with_a_visibility_are_read_by_the_pattern_of_the_table() -> None:
    for name in "ab":
        save("hive", name, *bee(point("wing", 5, 5), head="head-occluded", sting="sting-visible"))
    done = convert()
    assert done.status == 1 and "E301 unknown-label (1)" in done.out
    words = typed(done.words, "--ignore")
    pattern = re.search(r"(--label-pattern '[^']+') reads the rest of the label", done.words)
    assert pattern and words == ["--ignore", "wing"]
    assert convert("hive", *shlex.split(pattern[1]), *words).status == 0
    assert written(Path("out"))["train"].visibility.tolist() == [[1, 2, 2]] * 2


def test_points_of_an_unknown_box_are_told_with_it() -> None:
    save("hive", "a", *bee(bee="wasp"))
    save("hive", "b", *bee(bee="wasp"))
    save("hive", "c", *bee(), *(shape | {"group_id": None} for shape in bee(bee="hornet")))
    done = convert()
    assert done.status == 1 and not re.search("E30[346]", done.out) and "nothing was written: 1 error" in done.out
    assert "'wasp': 2 in 2 files, first hive/a.json: shapes[0]; 6 points that depend on it are not read" in done.words
    assert "'hornet': 1, first hive/c.json: shapes[4]; 3 points that depend" in done.words
    assert convert("hive", "--map", "wasp=bee", "--map", "hornet=bee").status == 0
    assert points_of() == [[20, 50, 80]] * 4


def test_points_of_a_box_of_another_shape_are_told_with_it() -> None:
    for name in "abc":
        shapes = bee()
        save("hive", name, shapes[0] | {"shape_type": "cuboid"}, *shapes[1:])
    save("hive", "d", *bee())
    done = convert()
    assert done.status == 1 and not re.search("E30[1346]", done.out)
    assert "E302 unsupported-shape (1)" in done.out and "got 'cuboid' (3 in 3 files, this is the first)" in done.words
    assert "9 points that depend on it are not read either" in done.words


@pytest.mark.parametrize("name", ["labelme", "coco"])
def test_keypoints_of_another_object_of_the_name(bees: Path, name: str) -> None:
    assert run("skeleton", "new", "other.yaml", "--names", "wing,eye", "--category", "bee").status == 0
    dataset = make_dataset(bees / "images", skeleton=load_skeleton("other.yaml"), images=["a.jpg", "b.jpg"])
    source = write_source(Path("hive"), name, {"all": dataset})
    done = convert(str(source))
    assert "keypoints must be those of skeleton bee, got none of them but" in done.words
    command = re.search(r"`posetools ([^`]+)` creates its skeleton; then add (--skeleton \S+);", done.words)
    assert command and command[2] == "--skeleton bee-2.yaml" and run(*shlex.split(command[1])).status == 0
    again = run("convert", source, *shlex.split(command[2]), "--out", "out", "--val", "0")
    assert again.status == 0, again.out
    read = written(Path("out"))["train"]
    assert len(read) == len(dataset) and sorted(read.skeleton.names) == ["eye", "wing"]


@pytest.mark.parametrize("boxes", [True, False])
def test_a_set_of_another_object(boxes: bool) -> None:
    hand = [box(10, 20, 110, 120, 1) | {"label": "hand"}] if boxes else []
    shapes = [*hand, point("wrist", 20, 30, 1), point("thumb", 50, 60, 1), point("palm", 80, 90, 1)]
    for name in "abc":
        save("hive", name, *shapes)
    done = convert()
    assert done.status == 1 and "nothing was written: 1 error" in done.out
    assert "labels must be those of skeleton bee, got none of them but" in done.words
    command = re.search(r"`posetools ([^`]+)`", done.words)
    category = "hand" if boxes else "object"
    assert command and f"then add --skeleton {category}.yaml" in done.words
    assert run(*shlex.split(command[1])).status == 0
    words = () if boxes else ("--box-from", "keypoints")
    again = run("convert", "hive", "--skeleton", f"{category}.yaml", "--out", "out", "--val", "0", *words)
    assert again.status == 0, again.out
    assert points_of() == [[20, 50, 80]] * 3


def test_names_in_other_letters_are_no_other_object() -> None:
    save("hive", "a", *bee(bee="Bee", head="Head", thorax="Thorax", sting="Sting"))
    done = convert()
    assert "got none of them but" not in done.words
    words = typed(done.words, "--map")
    assert words == ["--map", "Bee=bee", "--map", "Head=head", "--map", "Thorax=thorax", "--map", "Sting=sting"]
    assert convert("hive", *words).status == 0 and points_of() == [[20, 50, 80]]


def test_values_that_were_taken_for_others_are_counted_over_all_files() -> None:
    for name in "abcd":
        shapes = [shape | {"group_id": "1"} for shape in bee()]
        save("hive", name, *shapes, **({"imageWidth": "320"} if name > "b" else {}))
    done = convert()
    assert done.status == 0 and "W324 repaired (2)" in done.out
    assert "hive/a.json: a group_id as a string or a float was read as an integer, an empty one as none" in done.out
    assert "(16 in 4 files, this is the first)" in done.words
    assert "hive/c.json: a size as a string or a float was read as an integer (2 in 2 files" in done.words
    assert points_of() == [[20, 50, 80]] * 4


def test_flags_that_are_not_carried_over_are_one_warning() -> None:
    for name in "abc":
        save("hive", name, *(shape | {"flags": {"truncated": True}} for shape in bee()))
    done = convert()
    assert (
        done.status == 0 and "W323 not-carried (1)" in done.out and "(12 in 3 files, this is the first)" in done.words
    )


def test_objects_of_an_image_that_is_missing_are_told_with_it(bees: Path) -> None:
    names = ["head", "thorax", "sting"]
    annotation = {"category_id": 1, "bbox": [1, 1, 90, 90], "area": 8100, "iscrowd": 0, "num_keypoints": 3}
    annotation["keypoints"] = [20, 30, 2, 50, 60, 2, 80, 90, 2]
    make_image(bees / "a.jpg", (320, 240))
    document = {
        "images": [{"id": i, "file_name": f, "width": 320, "height": 240} for i, f in ((1, "a.jpg"), (2, "b.jpg"))],
        "categories": [{"id": 1, "name": "bee", "keypoints": names}],
        "annotations": [{"id": i, "image_id": image, **annotation} for i, image in ((1, 1), (2, 2), (3, 2), (4, 2))],
    }
    (bees / "a.json").write_text(json.dumps(document))
    done = convert("a.json")
    assert done.status == 1 and "E110" not in done.out and "nothing was written: 1 error" in done.out
    assert "images[1] (id 2, b.jpg)" in done.words
    assert convert("a.json", "--keep-going").status == 1 and points_of() == [[20, 50, 80]]


def test_objects_of_an_unknown_category_are_one_finding(bees: Path) -> None:
    annotation = {"category_id": 2, "bbox": [1, 1, 90, 90], "area": 8100, "iscrowd": 0, "num_keypoints": 2}
    annotation["keypoints"] = [20, 30, 2, 50, 60, 2]
    make_image(bees / "a.jpg", (320, 240))
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 320, "height": 240}],
        "categories": [{"id": 2, "name": "crab", "keypoints": ["claw", "eye"]}],
        "annotations": [{"id": i, "image_id": 1, **annotation} for i in range(1, 51)],
    }
    (bees / "a.json").write_text(json.dumps(document))
    done = convert("a.json")
    assert done.status == 1 and "E301 unknown-label (1)" in done.out and "'crab': 50, first" in done.words
    command = re.search(r"`posetools ([^`]+)`", done.words)
    assert command and run(*shlex.split(command[1])).status == 0
    again = run("convert", "a.json", "--skeleton", "crab.yaml", "--out", "out", "--val", "0")
    assert again.status == 0 and points_of() == [[20, 50]] * 50


def test_nothing_but_what_is_left_out_says_so() -> None:
    save("hive", "a", *bee(bee="wasp"))
    done = convert("hive", "--ignore", "wasp")
    assert done.status == 1 and "E116" in done.out and "are the labels" not in done.out
    assert "the options exclude all objects: change --ignore" in done.words
    assert convert("hive", "--map", "wasp=bee").status == 0


def test_findings_of_a_kind_come_from_other_processes() -> None:
    found = [
        RepeatedFinding("W324", f"{name}.json", "shapes[1]", "x for y (2)", what="x for y", number=2) for name in "abc"
    ]
    other = Finding("W322", "x.jpg", "", "the image must be named")
    (kept, one) = joined(pickle.loads(pickle.dumps([*found, other])))
    assert kept == other
    assert one == Finding("W324", "a.json", "shapes[1]", "x for y (6 in 3 files, this is the first)")


FOREIGN = {
    "labelme": (),
    "cvat": (),
    "label-studio": (),
    "via": (),
    "coco": (),
    "deeplabcut": ("--assume-visible", "--box-from", "keypoints"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_set_of_another_object_in_every_format(bees: Path, name: str) -> None:
    assert run("skeleton", "new", "crab.yaml", "--names", "claw,eye", "--category", "crab").status == 0
    skeleton = load_skeleton("crab.yaml")
    images = [f"{letter}.jpg" for letter in "abcd"]
    dataset = make_dataset(bees / "images", skeleton=skeleton, images=images)
    keypoints = dataset.keypoints.copy()
    keypoints[:, :, 2] = 2
    dataset = replace(dataset, keypoints=keypoints)
    source = write_source(Path("beach"), name, {"all": dataset})
    Path("crab.yaml").unlink()
    more = FOREIGN[name]
    done = convert(str(source), "--from", name, *more)
    assert done.status == 1 and "nothing was written: 1 error" in done.out, done.out
    assert "got none of them but" in done.words
    command = re.search(r"`posetools ([^`]+)` creates its skeleton; then add (--skeleton [^\s;]+)", done.words)
    assert command and run(*shlex.split(command[1])).status == 0
    again = run("convert", source, "--from", name, *shlex.split(command[2]), "--out", "out", "--val", "0", *more)
    assert again.status == 0, again.out
    read = written(Path("out"))["train"]
    assert set(read.skeleton.names) == {"claw", "eye"} and len(read) == len(dataset)
    at = [read.skeleton.index[one] for one in skeleton.names]
    assert read.keypoints[:, at, :2].tolist() == dataset.keypoints[:, :, :2].tolist()


@pytest.mark.parametrize("name", ["cvat", "coco"])
def test_an_object_of_another_label_with_the_keypoints_is_mapped(bees: Path, name: str) -> None:
    assert run("skeleton", "new", "wasp.yaml", "--names", BEE[1], "--category", "wasp").status == 0
    dataset = make_dataset(bees / "images", skeleton=load_skeleton("wasp.yaml"), images=["a.jpg", "b.jpg"])
    source = write_source(Path("hive"), name, {"all": dataset})
    done = convert(str(source), "--from", name)
    assert done.status == 1 and "got none of them but" not in done.words
    words = typed(done.words, "--map")
    # CVAT's boxes have their skeleton's name.
    assert set(words) == {"--map", "wasp=bee", *(["wasp-box=bee"] if name == "cvat" else [])}
    assert convert(str(source), "--from", name, *words).status == 0
    assert len(points_of()) == len(dataset)


@pytest.mark.parametrize("name", ["cvat", "label-studio"])
def test_what_is_not_carried_over_is_one_warning_for_all_files(bees: Path, name: str) -> None:
    skeleton = load_skeleton("bee.yaml")
    for part in ("one", "two"):
        images = [f"{part}-{letter}.jpg" for letter in "ab"]
        dataset = make_dataset(bees / part, skeleton=skeleton, images=images)
        folder = write_source(Path("hive", part), name, {"all": dataset})
        (file,) = [*folder.glob("annotations.xml"), *folder.glob("tasks.json")]
        text = file.read_text()
        if name == "cvat":
            text = text.replace("</image>", '<tag label="day" source="manual"></tag></image>')
        else:
            tasks = json.loads(text)
            for task in tasks:
                task["annotations"][0]["result"].append(
                    {"type": "choices", "value": {"choices": ["day"]}, "from_name": "x"}
                )
            text = json.dumps(tasks)
        file.write_text(text)
    done = convert("hive", "--from", name)
    assert done.status == 0 and "W323 not-carried (1)" in done.out, done.out
    assert "(4), in 2 files, this is the first" in done.words


def test_classes_of_other_objects_are_one_finding(bees: Path) -> None:
    dataset = make_dataset(bees / "images", skeleton=load_skeleton("bee.yaml"), images=["a.jpg", "b.jpg"], per_image=2)
    source = write_source(Path("hive"), "yolo-pose", {"train": dataset})
    data = (source / "data.yaml").read_text().replace("{0: bee}", "{0: bee, 1: wasp}")
    (source / "data.yaml").write_text(data)
    for file in source.rglob("*.txt"):
        line, *rest = file.read_text().splitlines()
        file.write_text("\n".join(["1" + line[1:], *rest]) + "\n")
    done = convert("hive")
    assert done.status == 1 and "nothing was written: 1 error" in done.out, done.out
    assert "got 1 other label, 2 times in 2 files" in done.words and "'wasp': 2 in 2 files" in done.words
    words = typed(done.words, "--ignore")
    assert words == ["--ignore", "wasp"] and convert("hive", *words).status == 0
    assert len(points_of()) == 2


def test_no_label_forges_a_line_of_the_table() -> None:
    forged = "wing\n  E999 forged\x1b[31m[red]"
    save("hive", "a", *bee(point(forged, 5, 5), point("--out", 7, 7)))
    done = convert()
    assert done.status == 1 and "\x1b" not in done.out and "'wing\\n  E999 forged\\x1b[31m[red]': 1, first" in done.out
    assert not [line for line in done.out.splitlines() if line.strip().startswith("E999")]
    assert "--ignore '--out' leaves them out" in done.words
    words = ("--ignore", "wing*", "--ignore", "--out")
    assert convert("hive", *words).status == 0 and points_of() == [[20, 50, 80]]


@pytest.mark.parametrize("number", [1, 2, 30])
def test_images_that_are_missing_are_one_error(number: int) -> None:
    """As when the images are on another disk: the hint appears once."""
    for index in range(number):
        save("hive", f"{index:02}", *bee())
        Path(f"hive/{index:02}.jpg").unlink()
    done = convert()
    assert done.status == 1 and "E121 picture-missing (1)" in done.words
    assert done.words.count("--image-root DIR also searches DIR") == 1
    if number > 1:
        assert f"hive: images must be where the annotations say, or in an --image-root ({number})" in done.words
        assert "hive/01.json: imagePath must be an existing image, got '01.jpg' (4 shapes left out)" in done.words
    assert ("... and 9 more" in done.words) is (number == 30)


def test_objects_without_a_box_are_one_error_and_all_places_are_in_the_record() -> None:
    for name in "abc":
        save("hive", name, *bee()[1:])
    save("hive", "d", *bee())
    assert convert("hive", "--keep-going").status == 1
    (found,) = json.loads(Path("out/conversion.json").read_text())["findings"]
    assert (found["code"], found["file"]) == ("E306", "hive")
    assert found["message"].startswith("the points of an object must have a box (3): hive/a.json: shapes[0], shapes[1]")
    assert all(f"hive/{name}.json" in found["message"] for name in "abc")
    assert "--box-from keypoints" in found["hint"]


def test_two_projects_of_the_same_images_are_one_error() -> None:
    entries = {}
    for name in "abc":
        make_image(Path("hive", f"{name}.jpg"), (320, 240), seed=ord(name))
        region = {"name": "rect", "x": 10, "y": 20, "width": 100, "height": 100}
        regions = [{"shape_attributes": region, "region_attributes": {"label": "bee"}}]
        entries[name] = {"filename": f"{name}.jpg", "size": 1, "regions": regions, "file_attributes": {}}
    for file in ("monday.json", "tuesday.json"):
        Path("hive", file).write_text(json.dumps({"_via_img_metadata": entries, "_via_settings": {}}))
    done = convert()
    assert done.status == 1 and "E313 duplicate-annotation (1)" in done.words
    assert "an image must have one annotation file (6)" in done.words
