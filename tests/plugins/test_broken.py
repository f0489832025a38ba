"""Broken plug-ins: each is named with its package and version, and nothing else changes."""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from tests.plugins.site import ROOT, posetools, put

HEAD = "from pathlib import Path\nfrom posetools.plugins import *\nPLUGIN_API = 1\n"
LABELME = ROOT / "data/labelme"


def format_with(read: str, *, detect: str = "path.name == 'own'", declares: str = "None", more: str = "") -> str:
    """Return a module with a format whose functions have these bodies."""
    return (
        f"{HEAD}from math import nan\nimport numpy as np\n{more}\n"
        f"def detect(path):\n    return {detect}\n"
        f"def read(source):\n    file = source / 'a.txt'\n    {read}\n"
        f"FORMAT = FormatPlugin(title='Own', signs='a folder own', detect=detect, read=read, declares={declares})\n"
    )


def image_with(objects: str) -> str:
    return f"yield ReadImage(image='a.png', file=file, objects=[{objects}])"


# Eleven packages; each breaks in another way. kind/name -> the object in the module.
BROKEN: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "import-error": ("import missing_module", {"formats/one": "FORMAT", "commands/one": "run", "checks/one": "CHECK"}),
    "exits": ("import sys\nsys.exit(3)", {"formats/two": "FORMAT", "commands/two": "run", "skeletons/two": "IT"}),
    "no-version": ("FORMAT = CHECK = IT = None", {"formats/three": "FORMAT", "checks/three": "CHECK"}),
    "other-version": ("PLUGIN_API = 99\nFORMAT = IT = 1", {"formats/four": "FORMAT", "skeletons/four": "IT"}),
    "no-object": (HEAD, {"formats/five": "FORMAT", "commands/five": "run", "exporters/five": "IT"}),
    "wrong-object": (f"{HEAD}IT = object()", {"formats/six": "IT", "checks/six": "IT", "skeletons/six": "IT"}),
    "bad-detect": (format_with("return []", detect="1 / 0"), {"formats/seven": "FORMAT"}),
    "odd-detect": (format_with("return []", detect="None"), {"formats/eight": "FORMAT"}),
    "bad-check": (
        f"{HEAD}def check(data):\n    raise ValueError('no good')\nCHECK = CheckPlugin(check=check)",
        {"checks/nine": "CHECK"},
    ),
    # The check of bad-check has this name already.
    "twice": (f"{HEAD}CHECK = 1", {"checks/nine": "CHECK"}),
    "taken": (HEAD, {"formats/labelme": "FORMAT", "commands/convert": "run", "skeletons/car8": "IT"}),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken") / "site"
    for package, (module, plugins) in BROKEN.items():
        put(folder, package, module, plugins)
    return folder


def test_reading_labelme_gives_the_same_files_as_without_them(site: Path, tmp_path: Path) -> None:
    plain = posetools(None, "convert", LABELME, "--out", "plain", cwd=tmp_path)
    done = posetools(site, "convert", LABELME, "--out", "out", cwd=tmp_path)
    assert done.returncode == plain.returncode == 0
    assert done.stdout.replace("out", "") == plain.stdout.replace("plain", "").replace("out", "")
    compared = filecmp.dircmp(tmp_path / "plain", tmp_path / "out")
    assert not (compared.left_only or compared.right_only or compared.diff_files)
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: plug-in")]
    named = {package for package in BROKEN if any(f"of package {package} 1.5 " in line for line in warnings)}
    assert named == set(BROKEN) - {"bad-check", "twice", "taken"}
    assert len(warnings) == len(set(warnings))


def test_a_source_of_no_format_lists_the_usable_ones(site: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/notes.md").write_text("nothing", encoding="utf-8")
    done = posetools(site, "convert", tmp_path / "src", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "coco, custom, cvat, deeplabcut, label-studio, labelme, sleap, via, yolo-pose" in done.stderr
    assert "one, two" not in done.stderr


def test_validate_reports_broken_checks_and_all_others(site: Path, tmp_path: Path) -> None:
    assert posetools(None, "convert", LABELME, "--out", tmp_path / "cars").returncode == 0
    reports = []
    for name, packages in (("plain", None), ("broken", site)):
        done = posetools(packages, "validate", tmp_path / "cars", "--json", tmp_path / f"{name}.json")
        assert done.returncode == 0, done.stdout + done.stderr
        reports.append(json.loads((tmp_path / f"{name}.json").read_bytes())["findings"])
    plain, broken = reports
    assert [one for one in broken if one["code"] != "W401"] == plain
    failed = [one["message"] for one in broken if one["code"] == "W401"]
    assert len(failed) == 4
    assert (
        "plug-in 'nine' (checks) of package bad-check 1.5 fails to check this data set: ValueError: no good" in failed
    )


def test_the_help_lists_broken_commands_as_such(site: Path) -> None:
    done = posetools(site, "--help")
    plain = posetools(None, "--help").stdout
    assert done.returncode == 0
    assert done.stdout.startswith(plain.partition("\nOptions:")[0])
    words = " ".join(done.stdout.split())
    assert "Commands of import-error: one" in words
    assert "Not available: plug-in 'one' (commands) of package import-error 1.5 cannot be imported" in words
    assert "SystemExit: 3" in words
    for name in ("one", "two", "five"):
        done = posetools(site, name)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: plug-in '{name}' (commands) of package ")
        assert "fix: update or uninstall" in done.stderr


def test_a_named_broken_format_and_skeleton_are_errors(site: Path, tmp_path: Path) -> None:
    done = posetools(site, "convert", LABELME, "--from", "four", "--out", tmp_path / "out")
    assert (done.returncode, (tmp_path / "out").exists()) == (2, False)
    assert (
        "package other-version 1.5 must be written for PLUGIN_API = 1, but other_version has PLUGIN_API = 99"
        in done.stderr
    )
    done = posetools(site, "convert", LABELME, "--skeleton", "six", "--out", tmp_path / "out")
    assert (done.returncode, (tmp_path / "out").exists()) == (2, False)
    assert "package wrong-object 1.5 must be a Skeleton or the path of a YAML file" in done.stderr


def test_doctor_lists_all_with_their_state_and_names_that_are_taken(site: Path, tmp_path: Path) -> None:
    # Without torch, the checks of the stack take no time.
    (site / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n", encoding="utf-8")
    try:
        done = posetools(site, "doctor", "--json")
        shown = posetools(site, "doctor").stdout
        put(
            tmp_path / "site",
            "good",
            f"{HEAD}SKELETON = Skeleton(name='kite', keypoints=['a', 'b'])",
            {"skeletons/kite": "SKELETON"},
        )
        (tmp_path / "site/sitecustomize.py").write_bytes((site / "sitecustomize.py").read_bytes())
        good = json.loads(posetools(tmp_path / "site", "doctor", "--json").stdout)
    finally:
        (site / "sitecustomize.py").unlink()
    document = json.loads(done.stdout)
    # The missing stack is the only problem of the environment.
    assert [check["name"] for check in document["checks"] if not check["ok"]] == ["train extra"]
    assert len(document["plugins"]) == sum(len(plugins) for _, plugins in BROKEN.values())
    states = {(one["kind"], one["name"], one["package"]): one for one in document["plugins"]}
    assert [key for key, one in states.items() if one["ok"]] == [
        ("formats", "seven", "bad-detect"),
        ("formats", "eight", "odd-detect"),
        ("checks", "nine", "bad-check"),
    ]
    assert "has the name of the one of package bad-check, which is used" in states["checks", "nine", "twice"]["problem"]
    taken = states["formats", "labelme", "taken"]
    assert "has the name of the one of package posetools, which is used" in taken["problem"]
    assert "not used: plug-in 'convert' (commands) of package taken 1.5" in shown
    ((kite,),) = (good["plugins"],)
    assert (kite["name"], kite["ok"], kite["problem"], kite["version"]) == ("kite", True, "", "1.5")


# What a format yields -> a part of the one error, which names the plug-in.
NONSENSE = {
    "nothing": ("return None", "TypeError: 'NoneType' object is not iterable"),
    "None": ("yield None", "must yield a ReadImage or a ReadProblem, got None"),
    "a tuple": ("yield ('a.png', [])", "must yield a ReadImage or a ReadProblem, got ('a.png', [])"),
    "an exception": ("yield 1 / 0", "ZeroDivisionError"),
    "an exit": ("raise SystemExit(1)", "SystemExit: 1"),
    "no image": ("yield ReadImage(image=None, file=file)", "must give a str or Path as image of its ReadImage"),
    "no file": ("yield ReadImage(image='a.png', file='a.txt')", "must give a Path as file of its ReadImage"),
    "a way out as split": (
        "yield ReadImage(image='a.png', file=file, split='../up')",
        "must give a name such as train as split of",
    ),
    "other objects": (image_with("'kite'"), "must give a list of ReadObject as objects of"),
    "a box of three": (
        image_with("ReadObject(category='kite', box=(1, 2, 3))"),
        "must give x1, y1, x2, y2 as box of",
    ),
    "a box as a matrix": (
        image_with("ReadObject(category='kite', box=np.eye(2))"),
        "must give x1, y1, x2, y2 as box",
    ),
    "an array of points": (
        image_with("ReadObject(category='kite', keypoints=np.zeros((2, 3)))"),
        "must give a Mapping as keypoints of its ReadObject",
    ),
    "points without visibility": (
        image_with("ReadObject(category='kite', keypoints={'a': (1, 2)})"),
        "must give x, y and visibility by the keypoint's name",
    ),
    "an undeclared category": (
        image_with("ReadObject(category='bird')"),
        "must declare all that it reads, but does not declare category 'bird' in",
    ),
    "an undeclared keypoint": (
        image_with("ReadObject(category='kite', keypoints={'beak': (1, 2, 2)})"),
        "does not declare keypoint 'beak' of 'kite' in",
    ),
    "an unknown code": (
        "yield ReadProblem(file=file, message='m', code='E101')",
        "must give one of E309, E310",
    ),
}


def own_source(folder: Path) -> Path:
    (folder / "own").mkdir()
    Image.new("RGB", (64, 48)).save(folder / "own/a.png")
    (folder / "own/a.txt").write_text("", encoding="utf-8")
    return folder / "own"


def test_nonsense_of_a_format_is_one_error_that_names_it(tmp_path: Path) -> None:
    for number, (read, _) in enumerate(NONSENSE.values()):
        module = format_with(read, declares="lambda _: {'kite': ('a', 'b')}")
        put(tmp_path / "site", f"nonsense{number}", module, {f"formats/own{number}": "FORMAT"})
    program = (
        "import posetools\n"
        f"for number in range({len(NONSENSE)}):\n"
        f"    try: posetools.read({str(own_source(tmp_path))!r}, format=f'own{{number}}', skeleton='kite.yaml')\n"
        "    except posetools.PosetoolsError as exc: print(str(exc).splitlines()[0])\n"
    )
    (tmp_path / "kite.yaml").write_text("name: kite\nkeypoints: [a, b]\n", encoding="utf-8")
    lines = python(tmp_path / "site", program, tmp_path).splitlines()
    for number, (line, (name, (_, part))) in enumerate(zip(lines, NONSENSE.items(), strict=True)):
        assert line.startswith(f"plug-in 'own{number}' (formats) of package nonsense{number} 1.5 "), name
        assert part in line, name
    done = posetools(tmp_path / "site", "convert", tmp_path / "own", "--from", "own1", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: plug-in 'own1' (formats) of package nonsense1 1.5 must yield a ReadImage")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kite.yaml", "own", "site"]


GOOD = "ReadObject(category='kite', box=(1, 2, 30, 40), keypoints={'a': (5, 6, 2), 'b': (7, 8, 1)})"
# What an object has -> the finding, with its place and rule.
VALUES = {
    "NaN": (
        GOOD.replace("5, 6", "5, nan"),
        "keypoint 'a' must be x and y of at most 1000000",
    ),
    "a box inside out": (
        GOOD.replace("1, 2, 30", "31, 2, 30"),
        "objects[0]: box must be x1, y1, x2, y2",
    ),
    "visibility 3": (GOOD.replace("5, 6, 2", "5, 6, 3"), "a visibility of 0, 1 or 2, got [5, 6, 3]"),
    "a huge number": (
        GOOD.replace("5, 6, 2", "5, 1e308, 2"),
        "E311 own/a.txt: objects[0]: keypoint 'a' must",
    ),
    "a keypoint of another skeleton": (
        GOOD.replace("'a'", "'beak'"),
        "E301 own/a.txt: objects[0]: keypoint must be a keypoint of skeleton kite, got 'beak'",
    ),
    "another category": (
        GOOD.replace("kite", "bird"),
        "E301 own/a.txt: objects[0]: category must be 'kite', got 'bird'",
    ),
    "no box": (GOOD.replace("(1, 2, 30, 40)", "None"), "E306 own/a.txt: objects[0]: an object must be one with a box"),
}


def test_a_wrong_value_is_a_finding_at_its_place(tmp_path: Path) -> None:
    for number, (objects, _) in enumerate(VALUES.values()):
        put(tmp_path / "site", f"values{number}", format_with(image_with(objects)), {f"formats/own{number}": "FORMAT"})
    program = (
        "import posetools\n"
        f"for number in range({len(VALUES)}):\n"
        "    try: posetools.read('own', format=f'own{number}', skeleton='kite.yaml')\n"
        "    except posetools.ReadError as exc: print(*(f'{f.code} {f.where}: {f.message}' for f in exc.findings))\n"
    )
    own_source(tmp_path)
    (tmp_path / "kite.yaml").write_text("name: kite\nkeypoints: [a, b]\n", encoding="utf-8")
    lines = python(tmp_path / "site", program, tmp_path).splitlines()
    for line, (name, (_, part)) in zip(lines, VALUES.items(), strict=True):
        assert part in line, name


def python(site: Path, program: str, folder: Path) -> str:
    """Run a program that sees the packages in ``site``; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_values_that_are_right_are_written_and_boxes_are_made(tmp_path: Path) -> None:
    objects = f"{GOOD}, {GOOD.replace('box=(1, 2, 30, 40), ', '')}"
    put(tmp_path / "site", "values", format_with(image_with(objects)), {"formats/own": "FORMAT"})
    words = ("convert", own_source(tmp_path), "--out", tmp_path / "out", "--val", "0", "--box-from", "keypoints")
    done = posetools(tmp_path / "site", *words, "--box-margin", "10px", "--map", "a=tip")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "out/train_coco.json").read_bytes())
    assert [one["bbox"] for one in document["annotations"]] == [[1, 2, 29, 38], [0, 0, 17, 18]]
    assert document["categories"][0]["keypoints"] == ["tip", "b"]


CHECKS = {
    "None": "return None",
    "a text": "yield 'wrong'",
    "a code of posetools": "yield Finding('E101', 'f', '', 'm')",
    "an unknown code": "yield Finding('own3/E7', 'f', '', 'm')",
    "a message that is none": "yield Finding('own4/E1', 'f', '', None)",
    "a change of the data": "data.objects['train'].boxes[:] = 0\n    yield from ()",
}


def test_nonsense_of_a_check_is_a_warning_that_names_it(tmp_path: Path) -> None:
    for number, body in enumerate(CHECKS.values()):
        rules = "{'E1': Rule('odd', 'It is odd.')}"
        module = f"{HEAD}def check(data):\n    {body}\nCHECK = CheckPlugin(check=check, rules={rules})"
        put(tmp_path / "site", f"nonsense{number}", module, {f"checks/own{number}": "CHECK"})
    done = posetools(tmp_path / "site", "validate", ROOT / "data/coco", "--json", tmp_path / "report.json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "report.json").read_bytes())["findings"]
    failed = sorted(one["message"] for one in found if one["code"] == "W401")
    for number, (message, name) in enumerate(zip(failed, CHECKS, strict=True)):
        assert message.startswith(f"plug-in 'own{number}' (checks) of package nonsense{number} 1.5 "), name
    assert [one["code"] for one in found if one["code"] != "W401"] == ["W211"]


def test_a_command_that_fails_names_its_package(tmp_path: Path) -> None:
    module = f"{HEAD}def run():\n    '''Fly.'''\n    raise KeyError('wind')\n"
    put(tmp_path / "site", "kites", module, {"commands/fly": "run"})
    done = posetools(tmp_path / "site", "fly")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: plug-in 'fly' (commands) of package kites 1.5 failed: KeyError: 'wind'\n")
