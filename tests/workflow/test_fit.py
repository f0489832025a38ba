"""``posetools fit``: from labels to a verified bundle, in one call or in several."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image as Pillow

from posetools import PosePipeline
from posetools.cli.fit_steps import FitSteps
from posetools.errors import PosetoolsError, RunError, StoppedError
from posetools.training.estimate import DryRun
from posetools.training.hooks import TrainListener, TrainStatus
from posetools.workflow.fit import fit
from posetools.workflow.fit_request import FitRequest
from tests.cli.run import Done, run
from tests.pages.test_report import Page
from tests.road_object import NAMES, SKELETON_YAML, write_object_set
from tests.tiny_runs import Recorder

pytestmark = pytest.mark.train

# So short that each stage trains one epoch.
SHORT = ("--minutes", "0.02", "--pretrained", "none", "--yes")
STEPS = ("convert", "validate", "config", "estimate", "train", "eval", "plot", "export", "verify", "draw")


@dataclass(frozen=True)
class Fitted:
    """A finished fit in its working folder."""

    home: Path
    done: Done

    @property
    def out(self) -> Path:
        return self.home / "work_dirs" / "critters"

    def again(self, monkeypatch: pytest.MonkeyPatch, *options: str) -> Done:
        monkeypatch.chdir(self.home)
        return run("fit", "critters", *options)


def write_labels(folder: Path, images: int = 10) -> Path:
    write_object_set(folder, images, seed=4, size=(128, 96))
    (folder / "skeleton.yaml").write_text(SKELETON_YAML)
    return folder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fitted]:
    home = tmp_path_factory.mktemp("fit")
    write_labels(home / "critters")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        yield Fitted(home, run("fit", "critters", *SHORT))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("converted")
    assert run("convert", write_labels(home / "critters"), "--out", home / "data").status == 0
    return home / "data"


def test_two_words_end_in_a_verified_bundle(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitted.done.status == 0, fitted.done.err
    lines = [line.strip() for line in fitted.done.out.splitlines()]
    out = "work_dirs/critters"
    configs = f"--config {out}/configs/rtmdet_tiny_critter.py --config {out}/configs/rtmpose-t_critter.py"
    for command in (
        f"convert critters --out {out}/data",
        f"validate {out}/data --report {out}/validation.html",
        f"config {out}/data --out {out}/configs --det tiny --pose t --minutes 0.02 --pretrained none",
        f"train --stage all {configs} --work-dir {out} --dry-run",
        f"train --stage det --config {out}/configs/rtmdet_tiny_critter.py --work-dir {out}/det",
        f"train --stage pose --config {out}/configs/rtmpose-t_critter.py --work-dir {out}/pose",
        f"eval --run {out} --report {out}/evaluation.html --json {out}/evaluation.json",
        f"plot {out} --out {out}/curves.png",
        f"export --run {out} --out {out}/critters.zip --overwrite",
        f"verify {out}/critters.zip",
    ):
        assert lines.count(f"$ posetools {command}") == 1, command
    monkeypatch.chdir(fitted.home)
    assert run("verify", f"{out}/critters.zip").status == 0
    pipeline = PosePipeline.from_bundle(fitted.out / "critters.zip")
    assert pipeline.skeleton.names == NAMES
    pipeline(np.zeros((96, 128, 3), dtype=np.uint8))


def test_a_weak_pair_is_called_so_above_the_files(fitted: Fitted) -> None:
    summary = fitted.done.out[fitted.done.out.index("metric") :]
    verdict, files = summary.index("the pair is NOT usable yet"), summary.index("\nopen:")
    assert verdict < summary.index("is too low to be usable (below 0.5)") < files
    assert (
        "posetools fit critters --out work_dirs/critters --minutes 0.02 --pretrained none --yes --overwrite" in summary
    )


def test_one_page_links_all_results(fitted: Fitted) -> None:
    page = Page(fitted.out / "report.html")
    links = {unquote(a["href"] or "") for a in page.of("a")}
    assert links >= {
        "evaluation.html", "validation.html", "predictions.png", "critters.zip", "curves.png", "configs", "det",
        "pose", "data",
    }  # fmt: skip
    assert all((fitted.out / link).exists() for link in links)
    assert "The pair is not usable yet." in page.text
    document = json.loads((fitted.out / "evaluation.json").read_text())
    assert f"{document['det']['bbox']['AP50']:.3f} box AP50" in page.text
    assert len(page.of("img")) == 2
    with Pillow.open(fitted.out / "predictions.png") as sheet:
        assert sheet.width > 2 * 480


def test_the_same_call_again_does_nothing(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = (fitted.out / "critters.zip").read_bytes()
    done = fitted.again(monkeypatch, *SHORT)
    assert done.status == 0, done.err
    assert [line.strip() for line in done.out.splitlines() if "done before" in line] == [
        f"{step}: done before" for step in STEPS
    ]
    assert "$ posetools" not in done.out
    assert (fitted.out / "critters.zip").read_bytes() == bundle
    assert "the pair is NOT usable yet" in done.out


def test_what_was_deleted_is_made_again(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    (fitted.out / "critters.zip").unlink()
    done = fitted.again(monkeypatch, *SHORT)
    assert done.status == 0, done.err
    assert re.findall(r"\$ posetools (\w+)", done.out) == ["export", "verify"]
    assert (fitted.out / "critters.zip").is_file()


@pytest.mark.parametrize(
    ("options", "differs"),
    [
        (("--minutes", "5", "--pretrained", "none"), "--minutes 5, before --minutes 0.02"),
        (("--minutes", "0.02"), "no --pretrained, before --pretrained none"),
        ((*SHORT, "--ignore", "dog"), "--ignore dog, before no --ignore"),
    ],
)
def test_other_options_are_refused(
    fitted: Fitted, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], differs: str
) -> None:
    done = fitted.again(monkeypatch, *options, "--yes")
    assert (done.status, done.err) == (
        2,
        f"error: work_dirs/critters: was started with other options: {differs}\n"
        "  fix: use the same options to continue, another --out, or --overwrite to start again\n",
    )


def test_changed_labels_are_refused(fitted: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    new = fitted.home / "critters" / "new.json"
    new.write_text("{}")
    done = fitted.again(monkeypatch, *SHORT)
    new.unlink()
    assert (done.status, done.err) == (
        2,
        "error: critters: has changed since work_dirs/critters was started: 21 files then, 22 files now\n"
        "  fix: use --overwrite to start again with the new labels, or another --out\n",
    )


def test_without_a_terminal_it_names_yes_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    done = run("fit", str(write_labels(tmp_path / "critters", 1)))
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "error: there is no terminal to ask in before training\n  fix: add --yes to train without asking\n"
    )
    assert not (tmp_path / "work_dirs").exists()


class Watcher(FitSteps):
    """Answers the question before training, or presses Ctrl-C when a stage trains."""

    def __init__(self, *, trains: bool, stop_in: str = "") -> None:
        super().__init__(yes=True)
        self.titles: list[str] = []
        self.lines: list[str] = []
        self._trains, self._stop_in = trains, stop_in

    def step(self, title: str, command: str) -> None:
        super().step(title, command)
        self.titles.append(title)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def agrees(self, estimate: DryRun) -> bool:
        assert estimate.seconds > 0
        return self._trains

    @contextmanager
    def training(self) -> Iterator[TrainListener]:
        watcher = self

        class Trainer(Recorder):
            def say(self, line: str) -> None:
                watcher.lines.append(line)

            def update(self, status: TrainStatus) -> None:
                if watcher._stop_in and watcher._stop_in in watcher.titles[-1] and status.phase == "train":
                    raise KeyboardInterrupt

        yield Trainer()


class Stopper(Watcher):
    """Presses Ctrl-C when the data set is valid."""

    def validated(self, report: object) -> None:  # noqa: ARG002
        raise KeyboardInterrupt


def test_stopped_and_continued(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = shutil.copytree(converted, tmp_path / "cars")
    request = FitRequest(
        source=data, out=tmp_path / "out", minutes=0.02, pretrained="none", command="posetools fit cars"
    )
    with pytest.raises(StoppedError) as caught:
        fit(request, Watcher(trains=False))
    assert str(caught.value) == "not trained\n  posetools fit cars continues from there"
    assert not (tmp_path / "out" / "det").exists()

    with pytest.raises(StoppedError) as caught:
        fit(request, Watcher(trains=True, stop_in="pose estimator"))
    assert caught.value.sentence.startswith("stopped ")
    assert caught.value.hints == ("posetools fit cars continues from there",)

    last = Watcher(trains=False)
    result = fit(request, last)
    assert last.lines[:4] == [
        f"convert: {data} is a data set already",
        "validate: done before",
        "config: done before",
        "estimate: done before",
    ]
    assert any(re.fullmatch(r"nothing to do: .*epoch_1.pth is at epoch 1 of 1", line) for line in last.lines)
    assert result.bundle == tmp_path / "out" / "out.zip"
    assert result.files[data] == "the data set"
    assert PosePipeline.from_bundle(result.bundle).skeleton.names == NAMES


def test_it_stops_where_a_person_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_labels(Path("critters")) / "critter_0001.json"
    document = json.loads(path.read_text())
    document["shapes"].append({**document["shapes"][-1], "label": "whisker"})
    path.write_text(json.dumps(document))
    done = run("fit", "critters", *SHORT)
    assert done.status == 1
    assert "E301 unknown-label (1)" in done.out
    assert done.err.splitlines()[-4:] == [
        "error: critters: the labels need a decision: see the findings above",
        "  fit takes --from, --skeleton, --map, --ignore, --one-object-per-image, --box-from, --val, --split-by; with "
        "another option, first run `posetools convert critters --out data/critters OPTION`, then `posetools fit "
        "data/critters`",
        "  fix: correct the labels, or add the option that a finding names",
        "       then continue with posetools fit critters --out work_dirs/critters --minutes 0.02 --pretrained none "
        "--yes",
    ]
    # The decision is another option, and no step was done with the options before.
    request = FitRequest(
        source=Path("critters"),
        out=Path("work_dirs/critters"),
        minutes=0.02,
        pretrained="none",
        typed={"--ignore": ["whisker"]},
    )
    read = replace(request.conversion.read, ignore=frozenset({"whisker"}))
    request = replace(request, conversion=replace(request.conversion, read=read))
    with pytest.raises(StoppedError, match="stopped during validate"):
        fit(request, Stopper(trains=False))


def test_errors_in_a_data_set_stop_it(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(converted, "cars")
    path = Path("cars/train_coco.json")
    document = json.loads(path.read_text())
    document["annotations"][0]["area"] = 0
    path.write_text(json.dumps(document))
    with pytest.raises(RunError) as caught:
        fit(FitRequest(source=Path("cars"), out=Path("out"), command="posetools fit cars"), Watcher(trains=True))
    assert str(caught.value).splitlines() == [
        "cars: has 1 error: see the findings above and out/validation.html",
        "  fix: run `posetools validate cars --fix`",
        "       then continue with posetools fit cars",
    ]
    assert not Path("out/configs").exists()


def test_what_cannot_be_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("years of work")
    write_labels(Path("critters"), 1)
    Path("data").mkdir()
    Path("data/train_coco.json").write_text("{}")
    for options, said in (
        (("gone",), "gone: must be a folder or file with labels, but does not exist"),
        (("critters", "--minutes", "0"), "--minutes must be greater than 0, got 0.0"),
        (("critters", "--out", "mine"), "mine: exists and is not empty"),
        (("data", "--out", "out", "--map", "a=b"), "data: is a data set, so there are no labels to convert with --map"),
        (("s3://bucket/labels",), "s3://bucket/labels: must be a local path"),
    ):
        done = run("fit", *options, "--yes")
        assert done.status == 2
        assert done.err.startswith(f"error: {said}"), done.err
    assert sorted(path.name for path in Path("mine").iterdir()) == ["thesis.tex"]


def test_ctrl_c_between_runs_names_the_command(tmp_path: Path) -> None:
    labels = write_labels(tmp_path / "critters", 2)
    with pytest.raises(PosetoolsError) as caught:
        fit(FitRequest(source=labels, out=tmp_path / "out", command="posetools fit X"), Stopper(trains=True))
    assert str(caught.value) == (
        "stopped during validate; finished steps are kept\n  posetools fit X continues from there"
    )
