"""Errors that need no torch are reported before it is imported, which takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_runs import Run, Tiny

pytestmark = pytest.mark.train

# (command, part of its error); names in capitals are replaced by existing paths.
WRONG: list[tuple[str, str]] = [
    ("train gone --stage det", "gone: must be a data set folder"),
    ("train gone --stage all", "gone: must be a data set folder"),
    ("train gone --stage all --dry-run", "gone: must be a data set folder"),
    ("train DATA --stage det --device gpu", "--device must be auto"),
    ("train DATA --stage det --skeleton gone.yaml", "gone.yaml"),
    ("train DATA --stage det --tracker none", "--tracker must be"),
    ("train --stage pose", "must say what to train on"),
    ("train --stage det --config gone.py", "gone.py: config does not exist"),
    ("train --stage det --config DET --cfg-options nonsense", "--cfg-options must be key=value"),
    ("train --stage det --config DET --weights gone.pth", "gone.pth: file of weights does not exist"),
    ("train --stage det --config DET --work-dir RUN", "has checkpoints of an earlier run"),
    ("train --stage det --config DET --work-dir RUN --dry-run", "has checkpoints of an earlier run"),
    ("train --stage all --config gone.py --config gone.py", "gone.py: config does not exist"),
    ("train --stage det --work-dir gone --resume", "has no checkpoint to resume from"),
    ("train --stage all --work-dir gone --resume", "has no run of --stage all"),
    ("config gone --minutes 1", "gone: must be a data set folder"),
    ("eval --run gone", "gone: must be a folder with the runs"),
    ("eval --run RUNS", "must have one folder with a pose run"),
    ("eval --run RUNS --split gone --data DATA", "has no split"),
    ("eval --bundle gone.zip", "gone.zip: does not exist"),
    ("eval --stage det gone.pth", "gone.pth: checkpoint does not exist"),
    ("eval --stage det FILE --config gone.py", "gone.py: config does not exist"),
    ("eval --stage det FILE", "has no config"),
    ("eval --stage pose FILE --config DET --boxes gone.pth", "gone.pth: checkpoint does not exist"),
    ("predict --run gone IMAGES_DIR", "gone: must be a folder with the runs"),
    ("predict --run RUNS IMAGES_DIR", "must have one folder with a pose run"),
    ("predict --bundle gone.zip IMAGES_DIR", "gone.zip: does not exist"),
    ("predict --det DET gone.pth --pose DET FILE IMAGES_DIR", "gone.pth: checkpoint does not exist"),
    ("predict --run RUNS --device gpu IMAGES_DIR", "--device must be auto"),
    ("prelabel IMAGES_DIR --run gone", "gone: must be a folder with the runs"),
    ("review IMAGES_DIR --run gone", "gone: must be a folder with the runs"),
    ("export --run gone --out a.zip", "gone: must be a folder with the runs"),
    ("export --det gone.py FILE --pose DET FILE --out a.zip", "gone.py: config does not exist"),
    ("publish gone.pth --out a.pth", "gone.pth: checkpoint does not exist"),
    ("publish FILE --out a.pth --metrics gone.json", "gone.json: file of metrics does not exist"),
    ("demo --out IMAGES_DIR", "exists and is not empty"),
    ("verify gone.zip", "gone.zip: does not exist"),
    ("plot gone", "gone: must be the work folder"),
]
PROGRAM = """
import json, sys
from tests.cli.run import run
for command in json.load(sys.stdin):
    done = run(*command)
    print(json.dumps([done.status, done.words, "torch" in sys.modules]))
"""


def test_what_is_not_there_is_said_before_torch_is_imported(tiny: Tiny, det_run: Run, tmp_path: Path) -> None:
    places = {"DATA": tiny.data, "DET": tiny.det, "RUN": det_run.work_dir, "IMAGES_DIR": tiny.data / "images"}
    (tmp_path / "one").mkdir()
    places |= {"FILE": tmp_path / "file.pth", "RUNS": tmp_path / "one"}
    places["FILE"].touch()
    (tmp_path / "one" / "det").symlink_to(det_run.work_dir)
    commands = [[str(places.get(word, word)) for word in command.split()] for command, _ in WRONG]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r}){PROGRAM}"],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (command, expected), line in zip(WRONG, done.stdout.splitlines(), strict=True):
        status, words, imported = json.loads(line)
        assert (status, imported) == (2, False), f"{command}: {words}"
        assert expected in words, command
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.pth", "one"]
