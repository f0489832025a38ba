"""What a message says to type is typed: it does what the message promises."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.build import make_dataset, make_image
from tests.cli.run import Done, run
from tests.converting import NAMES, labelme_source, write_source
from tests.runtime.tiny import write as write_bundle

TYPED = re.compile(r"`posetools ([^`]+)`")


def typed(text: str, number: int = 0) -> list[str]:
    """Return the words of a command that a text names in backticks."""
    return shlex.split(TYPED.findall(text)[number])


def follow(text: str, number: int = 0) -> Done:
    done = run(*typed(text, number))
    assert done.status == 0, done.out + done.err
    return done


@pytest.fixture
def dogs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with labelme files of dogs, and dog.yaml beside it, as seen from the working folder."""
    monkeypatch.chdir(tmp_path)
    assert run("skeleton", "new", "dog.yaml", "--names", "nose,left-ear,right-ear", "--category", "dog").status == 0
    from posetools.core.skeleton import load_skeleton

    dataset = make_dataset(tmp_path / "photos", skeleton=load_skeleton("dog.yaml"), images=NAMES)
    return write_source(Path("my dogs"), "labelme", {"all": dataset})


@pytest.mark.parametrize("command", ["validate", "split", "config"])
def test_a_folder_of_labels_is_no_place_for_a_data_set(dogs: Path, command: str) -> None:
    before = sorted(path.name for path in dogs.iterdir())
    done = run(command, dogs)
    assert done.status == 2 and "must be a data set folder" in done.err
    assert "--out 'my dogs'" not in done.err
    done = run(*typed(done.err), "--skeleton", "dog.yaml")
    assert done.status == 0, done.err
    assert run("validate", "my dogs-coco").status == 0
    assert sorted(path.name for path in dogs.iterdir()) == before
    # The name is taken now.
    assert typed(run(command, dogs).err)[-1] == "my dogs-coco-2"


@pytest.mark.parametrize("where", [".", "..", "absolute"])
def test_the_place_that_is_named_is_beside_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    source, _ = labelme_source(tmp_path)
    (source / "sub").mkdir()
    shown = str(source) if where == "absolute" else where
    monkeypatch.chdir({".": source, "..": source / "sub"}.get(where, tmp_path))
    done = run("validate", shown)
    assert done.status == 2
    follow(done.err)
    assert (tmp_path / "src-coco/train_coco.json").is_file()


def test_an_empty_folder_is_where_a_data_set_may_go(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    (tmp_path / "empty").mkdir()
    words = typed(run("validate", tmp_path / "empty").err)
    assert words[:2] == ["convert", "SRC"] and words[-1] == str(tmp_path / "empty")
    assert run(*(str(source) if word == "SRC" else word for word in words)).status == 0


@pytest.mark.parametrize("split", ["train", "val"])
def test_what_is_next_after_a_subset_of_one_split(tmp_path: Path, split: str) -> None:
    source, _ = labelme_source(tmp_path)
    assert run("convert", source, "--out", tmp_path / "set", "--val", "0.4").status == 0
    out = tmp_path / "one split"
    done = run("subset", tmp_path / "set", "--split", split, "--out", out)
    assert done.status == 0
    (checked,) = re.findall(r"next: posetools (.+)", done.out)
    assert run(*shlex.split(checked)).status == 0, checked
    (splitting,) = re.findall(r"posetools (split .+)  \(training needs", done.out)
    assert run(*shlex.split(splitting)).status == 0
    assert run("validate", out).status == 0


def test_what_is_next_after_other_commands_that_write_a_data_set(tmp_path: Path) -> None:
    source, _ = labelme_source(tmp_path)
    data, part, whole = tmp_path / "set", tmp_path / "part", tmp_path / "whole"
    done = [run("convert", source, "--out", data), run("subset", data, "--limit", "5", "--out", part)]
    shutil.copytree(data, tmp_path / "other")
    done += [run("merge", data, tmp_path / "other", "--out", whole), run("split", whole)]
    for one, folder in zip(done, (data, part, whole, whole), strict=True):
        assert re.findall(r"next: posetools (.+)", one.out) == [f"validate {folder}"]
        assert run("validate", folder).status == 0


def test_diff_names_the_options_of_convert_as_such(dogs: Path, tmp_path: Path) -> None:
    assert run("diff", dogs, dogs, "--skeleton", "dog.yaml").status == 0
    broken = json.loads((dogs / "a.json").read_text())
    broken["shapes"][0]["label"] = "cat"
    shutil.copytree(dogs, tmp_path / "cats")
    (tmp_path / "cats/a.json").write_text(json.dumps(broken))
    done = run("diff", dogs, "cats", "--skeleton", "dog.yaml")
    assert done.status == 2 and "--map 'cat=NAME'" in done.err and "`posetools convert cats" in done.err
    words = typed(done.err)
    assert words[:2] == ["convert", "cats"] and "dog.yaml" in words
    listed = run(*words)
    assert listed.status == 1 and "1 error" in listed.out and "2 points that depend on it" in listed.out
    assert run(*words, "--map", "cat=dog").status == 0


def test_a_source_without_visibility_leads_to_convert(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "photos", images=NAMES)
    source = write_source(tmp_path / "dlc", "deeplabcut", {"all": dataset})
    done = run("diff", source, source)
    assert done.status == 2 and "--assume-visible reads" in done.err
    words = typed(done.err)
    assert words[:2] == ["convert", str(source)]
    out = tmp_path / "set"
    words[words.index("NEW")] = str(out)
    assert run(*words, "--assume-visible", "--box-from", "keypoints").status == 0
    assert run("diff", out, out).status == 0


def test_predict_into_a_folder_that_holds_something(tmp_path: Path) -> None:
    make_image(tmp_path / "in/a.png", (96, 80))
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").write_text("x")
    bundle = write_bundle(tmp_path / "cars.zip", seeds=())
    words = ("predict", tmp_path / "in", "--bundle", bundle, "--format", "labelme", "--output-root")
    done = run(*words, full)
    assert done.status == 2 and "choose another --output-root" in done.err
    assert "--overwrite" not in done.err and "--out " not in done.err
    assert run(*words, tmp_path / "other").status == 0


def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a labelme on the PATH that labels every image of the folder with a car."""
    folder = tmp_path / "bin"
    folder.mkdir()
    box: dict[str, Any] = {"label": "car", "shape_type": "rectangle", "points": [[10, 10], [90, 70]], "group_id": 0}
    point = {"label": "left-front-tire", "shape_type": "point", "points": [[20, 60]], "group_id": 0}
    lines = [
        "import json, pathlib",
        f"shapes = json.loads({json.dumps(json.dumps([box, point]))})",
        "for path in pathlib.Path().glob('*.jpg'):",
        "    document = {'imagePath': path.name, 'shapes': shapes}",
        "    path.with_suffix('.json').write_text(json.dumps(document))",
    ]
    import sys

    (folder / "labelme").write_text("\n".join([f"#!{sys.executable}", *lines]) + "\n")
    (folder / "labelme").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))


@pytest.mark.parametrize("kind", ["links", "review"])
def test_images_that_are_links_are_refused_before_the_window_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for seed in range(4):
        make_image(tmp_path / f"the photos/{seed}.jpg", (96, 80), seed=seed)
    folder = tmp_path / "links"
    if kind == "review":
        assert run("review", tmp_path / "the photos", "--out", tmp_path / "chosen").status == 0
        folder = tmp_path / "chosen/pictures"
    else:
        folder.mkdir()
        for path in (tmp_path / "the photos").iterdir():
            (folder / path.name).symlink_to(path)
    _program(tmp_path, monkeypatch)
    out = tmp_path / "set"
    done = run("annotate", folder, "--then-convert", out)
    assert done.status == 2 and "got 4 of 4 as links that lead out of it" in done.err
    assert not list(folder.glob("*.json")), "labelme must not have been started"
    follow(done.err, 0)
    follow(done.err, 1)
    assert run("validate", out).status == 0
    assert len(json.loads((out / "train_coco.json").read_text())["annotations"]) == 3


def test_a_data_set_within_the_labels_is_refused_before_the_window_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_image(tmp_path / "photos/a.jpg", (96, 80))
    _program(tmp_path, monkeypatch)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    for out, said in (
        ("photos/set", "--then-convert must be outside the source"),
        (".", "--then-convert must be outside the source"),
        ("full", "--overwrite replaces it; or choose another --then-convert"),
    ):
        done = run("annotate", tmp_path / "photos", "--then-convert", tmp_path / out)
        assert done.status == 2 and said in done.err and " --out" not in done.err
    assert not (tmp_path / "photos/a.json").exists()


def test_findings_after_labeling_name_the_options_of_convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(4):
        make_image(tmp_path / f"photos/{seed}.jpg", (96, 80), seed=seed)
    _program(tmp_path, monkeypatch)
    words = ("annotate", tmp_path / "photos", "--skeleton", "coco17", "--then-convert", tmp_path / "set")
    done = run(*words)
    assert done.status == 1 and "got none of them but" in done.out
    assert "--skeleton car8 has most of these names" in done.out
    words = ("convert", tmp_path / "photos", "--skeleton", "car8", "--out", tmp_path / "set")
    assert run(*words).status == 0
    assert f"posetools convert {tmp_path / 'photos'} --from labelme --out {tmp_path / 'set'}" in done.out
    assert "--keep-going writes what could be read" in done.out
