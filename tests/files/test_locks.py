from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import posetools.files.disk as files
from posetools.checks.validate import validate
from posetools.datasets.merge import MergeRequest, merge
from posetools.datasets.resplit import resplit
from posetools.errors import OutputError, RequestError
from posetools.files.disk import staged_folder, sweep
from posetools.files.locks import LOCK, exchange, only_one, only_one_in
from posetools.imaging.frames import open_sources
from posetools.labeling.prelabel import plan_prelabels, prelabel
from posetools.prediction.predict import PredictRequest, predict
from tests.build import make_dataset
from tests.converting import contents, convert_one, labelme_source, write_source
from tests.finding import make_pipeline

HOLDS = """
import sys, time
from pathlib import Path
from posetools.files.locks import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def _another_run(target: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold a target."""
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(target)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    whole = make_dataset(tmp_path / "p", images=[f"{i}.jpg" for i in range(8)])
    splits = {"train": whole.select_images(range(6)), "val": whole.select_images([6, 7])}
    labelme_source(tmp_path)
    write_source(tmp_path / "one", "coco", {"train": make_dataset(tmp_path / "p1", images=["a.jpg"])})
    write_source(tmp_path / "two", "coco", {"val": make_dataset(tmp_path / "p2", images=["b.jpg"], size=(96, 64))})
    return write_source(tmp_path / "data", "coco", splits)


def _convert(data: Path) -> object:
    (data / "conversion.json").write_text("{}")
    return convert_one(data.parent / "src", data, overwrite=True)


def _merge(data: Path) -> object:
    (data / "conversion.json").write_text("{}")
    return merge(MergeRequest(sources=(data.parent / "one", data.parent / "two"), out=data, overwrite=True))


def _prelabel(data: Path) -> object:
    return prelabel(plan_prelabels(data), make_pipeline())


def _predict(data: Path) -> object:
    request = PredictRequest(output_root=data, save_predictions=True)
    return predict(request, open_sources([str(data.parent / "src" / "a.jpg")]), make_pipeline())


@pytest.mark.parametrize(
    "run",
    [
        _convert,
        _predict,
        _prelabel,
        _merge,
        lambda data: resplit(data, val=0.5, seed=3),
        lambda data: validate(data, fix=True),
        lambda data: validate(data / "train_coco.json", skeleton="car8", fix=True),
    ],
)
def test_the_second_of_two_runs_in_one_folder_is_refused(data: Path, run: Callable[[Path], object]) -> None:
    with _another_run(data) as other:
        before = contents(data)
        with pytest.raises(RequestError) as refused:
            run(data)
        said = f"{data}: another run of posetools (process {other.pid}) is writing here\n  fix: wait until it has ended"
        assert str(refused.value).startswith(said)
        assert {**before, "conversion.json": b""} == {**contents(data), "conversion.json": b""}
    # A killed run does not block others.
    run(data)
    assert not list(data.rglob(f"*{LOCK}"))


def test_one_process_holds_a_target_once(tmp_path: Path) -> None:
    with only_one(tmp_path / "out"):
        assert (tmp_path / ".out.lock").read_text() == str(os.getpid())
        with pytest.raises(RequestError, match="another run of posetools"), only_one(tmp_path / "out"):
            pass
        with only_one(tmp_path / "other"):
            pass
    with only_one(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_lock_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"below: cannot be written: "), only_one_in(tmp_path / "file" / "below"):
        pass


def test_folders_change_places_at_once(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this system cannot")
    assert (tmp_path / "a" / "b").exists() and (tmp_path / "b" / "a").exists()
    assert not exchange(tmp_path / "a", tmp_path / "nothing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_what_killed_runs_left_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Killed between the two moves of a system that cannot exchange folders.
    (tmp_path / ".out.01234567.old").mkdir()
    (tmp_path / ".out.01234567.old" / "old").touch()
    (tmp_path / ".out.89abcdef.tmp").mkdir()
    (tmp_path / ".out.is-somebody-elses.tmp").mkdir()
    with pytest.raises(RequestError, match="exists and is not empty"), staged_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "old").exists()
    monkeypatch.setattr(files, "exchange", lambda *_: False)
    with staged_folder(tmp_path / "out", overwrite=True) as folder:
        (folder / "new").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".out.is-somebody-elses.tmp", "new", "out"]


def test_what_a_killed_run_left_of_a_file_is_taken_away(tmp_path: Path) -> None:
    for name in (".a.json.01234567.tmp", ".b.json.01234567.tmp", "a.json"):
        (tmp_path / name).touch()
    sweep(tmp_path / "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.json.01234567.tmp", "a.json"]
