"""``posetools skeleton``."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import posetools
from posetools.core.skeleton import BUILT_IN, load_skeleton, read_skeleton
from tests.cli.run import run


def test_show_prints_points_and_links() -> None:
    done = run("skeleton", "show")
    assert done.status == 0
    assert "car8: category 'car' (id 1), 8 keypoints" in done.out
    assert "│ 0 │ left-front-bumper │ right-front-bumper │ 0.05 │ 1 │ 0, 0, 255 │" in done.words
    assert "right-front-tire - right-rear-tire" in done.words


@pytest.mark.parametrize("name", BUILT_IN)
def test_show_yaml_is_a_skeleton_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "copy.yaml"
    path.write_text(run("skeleton", "show", name, "--yaml").out)
    assert read_skeleton(path) == load_skeleton(name)
    assert run("skeleton", "show", path).out == run("skeleton", "show", name).out


def test_check_says_valid_in_one_line_or_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    assert run("skeleton", "new", path, "--from", "car8").status == 0
    done = run("skeleton", "check", path)
    assert (done.status, done.err) == (0, "")
    assert done.out == f"{path}: valid: own, category 'car', 8 keypoints, 4 left/right pairs, 4 links\n"
    path.write_text(path.read_text().replace("sigmas: [0.05, ", "sigmas: ["))
    done = run("skeleton", "check", path)
    assert (done.status, done.out) == (2, "")
    assert done.err == f"error: {path}: sigmas must be a list of 8 numbers, one per keypoint, got 7 numbers\n"


def test_new_from_names(tmp_path: Path) -> None:
    path = tmp_path / "dog.yaml"
    done = run("skeleton", "new", path, "--keypoints", "nose, left-ear,right-ear", "--category", "dog")
    assert (done.status, done.err) == (0, "")
    wrote = f"wrote {path}; next: edit it, then posetools skeleton check {path}\n"
    assert done.out.startswith(wrote + "left/right pairs: left-ear - right-ear\n  no links are declared: ")
    skeleton = read_skeleton(path)
    assert (skeleton.name, skeleton.category.name) == ("dog", "dog")
    assert skeleton.names == ("nose", "left-ear", "right-ear")
    assert skeleton.flip_indices == (0, 2, 1)


def test_new_says_when_there_are_no_pairs(tmp_path: Path) -> None:
    done = run("skeleton", "new", tmp_path / "worm.yaml", "--keypoints", "head,light,tail")
    assert done.status == 0 and "no left/right pairs found\n  training will not mirror images: " in done.out
    assert "fix: where two keypoints change places" in done.out
    done = run("skeleton", "new", tmp_path / "dog.yaml", "--keypoints", "nose,leftEar,LEye,REye")
    assert (
        "left/right pairs: LEye - REye\n  training will not mirror images: no partner found for leftEar\n" in done.out
    )
    assert "delete `flip: false` when all pairs have a swap" in done.out
    assert not read_skeleton(tmp_path / "dog.yaml").mirrors
    text = (tmp_path / "worm.yaml").read_text()
    text = text.replace("name: head,", "name: head, swap: tail,").replace("name: tail,", "name: tail, swap: head,")
    (tmp_path / "worm.yaml").write_text(text)
    assert "1 left/right pairs" in run("skeleton", "check", tmp_path / "worm.yaml").out, "the fix, followed"
    assert read_skeleton(tmp_path / "worm.yaml").mirrors


def test_new_writes_names_that_may_be_a_pair_and_says_what_to_write(tmp_path: Path) -> None:
    path = tmp_path / "dog.yaml"
    done = run("skeleton", "new", path, "--keypoints", "nose,left-shoulder,right-sholder")
    assert done.status == 0 and read_skeleton(path).pairs == ()
    lines = [line.strip() for line in done.out.splitlines() if line.strip().startswith("- {")]
    text = path.read_text()
    for line in lines:
        name = line.partition(",")[0]
        text = "".join(f"  {line}\n" if name + "," in old else old for old in text.splitlines(keepends=True))
    path.write_text(text)
    assert read_skeleton(path).pairs == (("left-shoulder", "right-sholder"),)


def test_new_from_another(tmp_path: Path) -> None:
    path = tmp_path / "people.yaml"
    assert run("skeleton", "new", path, "--from", "coco17").status == 0
    assert read_skeleton(path).names == load_skeleton("coco17").names


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (
            ["--from", "car8", "--keypoints", "a,b"],
            "`posetools skeleton new --from` cannot be combined with --keypoints",
        ),
        (
            ["--from", "car8", "--category", "dog"],
            "`posetools skeleton new --from` cannot be combined with --keypoints",
        ),
        (["--from", "car9"], "skeleton must be one of car8, coco17 or the path of a YAML file, got 'car9'"),
        (["--names", "a,a"], "name must be unique, got 'a' 2 times"),
    ],
)
def test_new_refuses(tmp_path: Path, arguments: list[str], part: str) -> None:
    path = tmp_path / "own.yaml"
    done = run("skeleton", "new", path, *arguments)
    assert done.status == 2
    assert part in done.err
    assert not path.exists()


COCO = {
    "images": [],
    "annotations": [],
    "categories": [
        {"id": 3, "name": "dog", "keypoints": ["nose", "left_ear", "right_ear"], "skeleton": [[1, 2], [1, 3]]},
        {"id": 4, "name": "leash"},
    ],
}


def test_new_from_data(tmp_path: Path) -> None:
    data, path = tmp_path / "dogs.json", tmp_path / "own.yaml"
    data.write_text(json.dumps(COCO))
    done = run("skeleton", "new", path, "--from", data)
    assert (done.status, done.err) == (0, ""), done.err
    assert "left/right pairs: left_ear - right_ear\n  sigmas are 0.05, a default" in done.out
    skeleton = read_skeleton(path)
    assert (skeleton.name, skeleton.category.name, skeleton.category.id) == ("own", "dog", 1)
    assert skeleton.edges == ((0, 1), (0, 2)) and skeleton.flip_indices == (0, 2, 1)


def test_new_from_data_of_several_categories(tmp_path: Path) -> None:
    data, path = tmp_path / "pets.json", tmp_path / "own.yaml"
    cat = {"id": 9, "name": "cat", "keypoints": ["nose", "tail"]}
    data.write_text(json.dumps(COCO | {"categories": [*COCO["categories"], cat]}))
    done = run("skeleton", "new", path, "--from", data)
    assert done.status == 2 and not path.exists()
    assert "pets.json: must declare one category with keypoints, got 'dog', 'cat'\n  fix: --category dog" in done.err
    done = run("skeleton", "new", path, "--from", data, "--category", "cat")
    assert done.status == 0 and read_skeleton(path).names == ("nose", "tail")
    done = run("skeleton", "new", tmp_path / "x.yaml", "--from", data, "--category", "leash")
    assert done.status == 2 and "must declare a category 'leash' with keypoints, got 'dog', 'cat'" in done.err


def test_new_from_a_yolo_folder_and_a_data_set(tmp_path: Path) -> None:
    yolo = tmp_path / "yolo"
    (yolo / "images/train").mkdir(parents=True)
    (yolo / "labels/train").mkdir(parents=True)
    (yolo / "data.yaml").write_text("train: images/train\nkpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\nnames: [cone]\n")
    done = run("skeleton", "new", tmp_path / "cone.yaml", "--from", yolo)
    assert done.status == 0, done.err
    skeleton = read_skeleton(tmp_path / "cone.yaml")
    assert skeleton.category.name == "cone" and skeleton.flip_indices == (0, 2, 1)
    done = run("skeleton", "new", tmp_path / "file.yaml", "--from", yolo / "data.yaml")
    assert read_skeleton(tmp_path / "file.yaml").names == skeleton.names, done.err
    kept = tmp_path / "set/skeleton.yaml"
    kept.parent.mkdir()
    kept.write_text("name: mine\nkeypoints: [tip, base]\n")
    assert run("skeleton", "new", tmp_path / "again.yaml", "--from", kept.parent).status == 0
    assert read_skeleton(tmp_path / "again.yaml").names == ("tip", "base")


def test_new_never_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("mine")
    done = run("skeleton", "new", path)
    assert done.status == 2
    assert "exists already\n  fix: choose another name" in done.err
    assert path.read_text() == "mine"


def test_new_without_names_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("dog\nnose,tail\n"))
    done = run("skeleton", "new", "dog.yaml")
    assert (done.status, done.out) == (2, "")
    error, fix, other = done.err.splitlines()
    assert error == "error: skeleton new needs keypoint names"
    assert not Path("dog.yaml").exists()
    # The suggested command works, without the dots.
    command = fix.strip().removeprefix("fix: posetools ").removesuffix(",...").split()
    assert run(*command).status == 0
    assert read_skeleton(Path("dog.yaml")).names == ("nose", "left_ear", "right_ear")
    assert read_skeleton(Path("dog.yaml")).category.name == "dog"
    Path("dog.yaml").unlink()
    assert run(*other.partition("posetools ")[2].split()).status == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
def test_new_without_names_asks_at_a_terminal(tmp_path: Path) -> None:
    import pty

    terminal, stdin = pty.openpty()
    os.write(terminal, b"\nnose, left-ear,right-ear\n")
    command = [sys.executable, "-m", "posetools", "skeleton", "new", "dog.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(Path(posetools.__file__).parents[1])}
    done = subprocess.run(
        command, cwd=tmp_path, stdin=stdin, capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    os.close(stdin)
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert "Name of the object [dog]" in done.stdout
    skeleton = read_skeleton(tmp_path / "dog.yaml")
    assert (skeleton.category.name, skeleton.names) == ("dog", ("nose", "left-ear", "right-ear"))
    assert skeleton.template is None
