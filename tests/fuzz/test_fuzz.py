"""A sample of the fuzzer's cases, and proof that it would detect failures."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posetools.core.findings import Finding
from posetools.errors import RequestError
from tests.fuzz import case, targets
from tests.fuzz.__main__ import main
from tests.fuzz.case import decider, run_case
from tests.fuzz.mutate import OTHERS, mutate_document
from tests.fuzz.mutate_tree import Damaged
from tests.fuzz.samples import sample
from tests.fuzz.targets import TARGETS, Read

HERE = [name for name, target in TARGETS.items() if not target.needs or importlib.util.find_spec(target.needs)]


@pytest.mark.parametrize("name", HERE)
def test_cases_end_in_a_result_or_in_one_sentence(name: str, tmp_path: Path) -> None:
    for number in range(40):
        outcome = run_case(name, decider(7, name, number), tmp_path)
        assert outcome.problem == "", f"python -m tests.fuzz --format {name} --seed 7 --case {number}"


@settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(st.sampled_from(["labelme", "coco", "cvat"]), st.randoms(use_true_random=False))
def test_hypothesis_decides_and_shrinks(tmp_path: Path, name: str, random: Random) -> None:
    outcome = run_case(name, random, tmp_path)
    assert outcome.problem == "", outcome.damaged.done


def test_a_number_is_always_the_same_case(tmp_path: Path) -> None:
    for number in range(20):
        first, second = (run_case("coco", decider(3, "coco", number), tmp_path).damaged for _ in range(2))
        assert (first.tree, first.vanishing, first.done) == (second.tree, second.vanishing, second.done)


def test_no_case_changes_what_later_ones_are_made_of() -> None:
    before, random = repr(OTHERS), Random(0)
    for _ in range(500):
        document: object = [[1, {"a": []}], None]
        for _ in range(3):
            document = mutate_document(random, document)
        json.dumps(document)
    assert repr(OTHERS) == before


def with_work(monkeypatch: pytest.MonkeyPatch, work: targets.Work) -> None:
    monkeypatch.setattr(case, "TARGETS", {"coco": targets.Target("coco", "x.json", work)})
    monkeypatch.setattr(case, "damage", lambda *_, **__: Damaged(dict(sample("coco"))))


def ended(tmp_path: Path) -> tuple[str, str]:
    outcome = run_case("coco", Random(0), tmp_path)
    return outcome.how, outcome.problem


def test_a_lost_object_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_work(monkeypatch, lambda *_: Read((), 3))
    how, problem = ended(tmp_path)
    assert how == "failed" and problem.startswith("4 objects are in no finding, but 3 were read or left out")
    told = Finding("E101", str(tmp_path / "src/val_coco.json"), "annotations[1] (id 4)", "x")
    with_work(monkeypatch, lambda *_: Read((told,), 3))
    assert ended(tmp_path) == ("succeeded", "")


def test_other_faults_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbles(*_: object) -> Read:
        raise KeyError("id")

    def hangs(*_: object) -> Read:
        while True:
            pass

    def writes(source: Path, *_: object) -> Read:
        (tmp_path / "elsewhere").write_text("x")
        (source / "train_coco.json").write_text("x")
        return Read(())

    def warns(*_: object) -> Read:
        warnings.warn("overflow encountered in multiply", RuntimeWarning, stacklevel=1)
        return Read(())

    def vague(*_: object) -> Read:
        raise RequestError("something is wrong")

    monkeypatch.setattr(case, "SECONDS", 0.1)
    for work, said in ((stumbles, "KeyError: 'id'"), (hangs, "ran longer than"), (vague, "names neither a file")):
        with_work(monkeypatch, work)
        assert ended(tmp_path)[0] == "failed" and said in ended(tmp_path)[1]
    with_work(monkeypatch, warns)
    with warnings.catch_warnings(action="ignore"):
        how, problem = ended(tmp_path)
    assert how == "failed" and "RuntimeWarning: overflow encountered" in problem
    with_work(monkeypatch, writes)
    problem = ended(tmp_path)[1]
    assert (
        "changed outside of --out" in problem and "elsewhere" in problem and "the source is not what it was" in problem
    )


def test_the_command_counts_and_its_failures_can_be_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--format", "conversion", "--cases", "20", "--workers", "1", "--failures", str(tmp_path)]) == 0
    assert "conversion" in capsys.readouterr().out
    assert main(["--format", "conversion", "--case", "3"]) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_dies_names_its_case(tmp_path: Path) -> None:
    code = (
        "import os, tests.fuzz.campaign as c\n"
        "from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        f"    into = Path({str(tmp_path)!r})\n"
        "    c._KILLED_AFTER = 0\n"
        "    worker = c._Worker('conversion', range(2), 0, into)\n"
        "    worker.process.kill(); worker.process.join()\n"
        "    tally = c.Tally('conversion')\n"
        "    while worker.collect(tally): pass\n"
        "    print(tally.failures, worker.left())\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, script], cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=True
    )
    assert "{0: 'the process died (exit status -9)'} range(1, 2)" in done.stdout, done.stdout
    assert (tmp_path / "conversion/0-0/failure.txt").read_text().startswith("python -m tests.fuzz --format conversion")
