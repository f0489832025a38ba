"""From facts to checks: every problem that doctor knows, with what it says and the command that mends it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from posetools.mm import probes
from posetools.mm.doctor import as_document, examine
from posetools.mm.environment import STACK, Check, Probe, StackFacts, StackKind, Versions, release

SYNC = "uv sync --inexact --extra train"


def probes_in_order() -> dict[str, Probe]:
    kept = {"cpu": [1]}
    torch = {"version": "2.13.0+cu130", "cuda": "13.0", "kernels": ["sm_75", "sm_90", "sm_120"], "gpus": []}
    return {
        "torch": Probe(True, torch),
        "torchvision": Probe(True, {"kept": kept}),
        "mmcv": Probe(True, {"kept": kept, "ops": {"cpu": "torchvision", "cuda": "torchvision"}}),
        "checkpoint": Probe(True, {"loaded": 1.0, "hostile": "refused"}),
        "models": Probe(True, {"imported": ["mmdet"]}),
        "xtcocotools": Probe(True, {"imported": ["xtcocotools._mask"]}),
        "pkg_resources": Probe(True, {"imported": ["pkg_resources"]}),
    }


def make_facts(**changes: Any) -> StackFacts:
    """Return the facts of an environment in which all is well, but for the changes."""
    distributions = {name: tested.newest for name, tested in STACK.items()}
    facts = StackFacts(python=(3, 11, 7), distributions=distributions, probes=probes_in_order())
    return replace(facts, **changes)


def with_versions(**versions: str | None) -> Callable[[], StackFacts]:
    def change() -> StackFacts:
        facts = make_facts()
        changed: dict[str, Any] = {name.replace("_", "-"): version for name, version in versions.items()}
        merged = {**facts.distributions, **changed}
        return replace(facts, distributions={name: version for name, version in merged.items() if version})

    return change


def with_probe(name: str, error: str = "", **found: Any) -> Callable[[], StackFacts]:
    def change() -> StackFacts:
        facts = make_facts()
        probe = Probe(False, error=error) if error else Probe(True, {**facts.probes[name].found, **found})
        return replace(facts, probes={**facts.probes, name: probe})

    return change


def with_gpu(capability: tuple[int, int], kernels: list[str]) -> Callable[[], StackFacts]:
    return with_probe("torch", gpus=[{"name": "Some GPU", "capability": list(capability)}], kernels=kernels)


# What is wrong, the check that says so, parts of what it found and expects, and the fix word for word.
PROBLEMS: dict[str, tuple[Callable[[], StackFacts], str, str, str, str]] = {
    "python 3.12": (
        lambda: make_facts(python=(3, 12, 1)),
        "python",
        "3.12.1",
        "3.11; numpy 1.23.5 exists for no later one",
        "rm -rf .venv && make install",
    ),
    "numpy 2": (with_versions(numpy="2.1.0"), "numpy", "2.1.0", "1.23.5; xtcocotools is compiled", SYNC),
    "numpy 1.26": (with_versions(numpy="1.26.4"), "numpy", "1.26.4", "1.23.5", SYNC),
    "torch too new": (with_versions(torch="2.14.0"), "torch", "2.14.0", "2.1.2 to 2.13.0", SYNC),
    "torch too old": (with_versions(torch="2.0.1"), "torch", "2.0.1", "2.1.2 to 2.13.0", SYNC),
    "mmcv 2.2": (with_versions(mmcv_lite="2.2.0"), "mmcv-lite", "2.2.0", "2.1.0; mmdet 3.3.0 refuses 2.2.0", SYNC),
    "mmengine missing": (with_versions(mmengine=None), "mmengine", "not installed", "0.10.7", SYNC),
    "opencv 4.12": (with_versions(opencv_python="4.12.0.88"), "opencv-python", "4.12.0.88", "numpy 2", SYNC),
    "setuptools 81": (with_versions(setuptools="81.0.0"), "setuptools", "81.0.0", "pkg_resources", SYNC),
    "torchvision of another torch": (
        with_versions(torchvision="0.27.1"),
        "torch and torchvision belong together",
        "torch 2.13.0, torchvision 0.27.1",
        "torchvision 0.28",
        f"{SYNC} --reinstall-package torch --reinstall-package torchvision",
    ),
    "torch for the CPU, torchvision not": (
        with_versions(torch="2.13.0+cpu"),
        "torch and torchvision belong together",
        "torch 2.13.0+cpu, torchvision 0.28.0",
        "torchvision 0.28 built for cpu",
        f"{SYNC} --reinstall-package torch --reinstall-package torchvision",
    ),
    "two opencv packages": (
        with_versions(opencv_python_headless="4.11.0.86"),
        "one opencv package",
        "opencv-python and opencv-python-headless",
        "opencv-python alone (each of them writes the folder cv2)",
        f"uv pip uninstall --python .venv opencv-python-headless && {SYNC} --reinstall-package opencv-python",
    ),
    "the wrong opencv package": (
        with_versions(opencv_contrib_python="4.11.0.86", opencv_python=None),
        "one opencv package",
        "opencv-contrib-python",
        "opencv-python alone",
        f"uv pip uninstall --python .venv opencv-contrib-python && {SYNC} --reinstall-package opencv-python",
    ),
    "mmcv too": (
        with_versions(mmcv="2.1.0"),
        "one mmcv package",
        "mmcv-lite and mmcv",
        "mmcv-lite or mmcv alone (each of them writes the folder mmcv)",
        f"uv pip uninstall --python .venv mmcv && {SYNC} --reinstall-package mmcv-lite",
    ),
    "mmcv-full": (
        with_versions(mmcv_full="1.7.2", mmcv_lite=None),
        "one mmcv package",
        "mmcv-full",
        "mmcv-lite or mmcv alone",
        f"uv pip uninstall --python .venv mmcv-full && {SYNC} --reinstall-package mmcv-lite",
    ),
    "mmcv compiled for another torch": (
        with_probe("mmcv", "ImportError: mmcv/_ext.so: undefined symbol: _ZN2at4_ops"),
        "mmcv's ops",
        "undefined symbol",
        "nms keeps [1]",
        f"{SYNC} --reinstall-package mmcv-lite",
    ),
    "mmcv's ops give another answer": (
        with_probe("mmcv", kept={"cpu": [1], "cuda": [0, 1]}),
        "mmcv's ops",
        "nms of two boxes on cpu and cuda: kept [1], [0, 1]",
        "nms keeps [1]",
        f"{SYNC} --reinstall-package mmcv-lite",
    ),
    "torchvision's ops are not there": (
        with_probe("torchvision", "RuntimeError: operator torchvision::nms does not exist"),
        "torchvision's compiled ops",
        "operator torchvision::nms does not exist",
        "nms keeps [1]",
        f"{SYNC} --reinstall-package torch --reinstall-package torchvision",
    ),
    "xtcocotools compiled for another numpy": (
        with_probe("xtcocotools", "ValueError: numpy.dtype size changed, may indicate binary incompatibility"),
        "xtcocotools imported",
        "numpy.dtype size changed",
        "imported",
        f"{SYNC} --reinstall-package xtcocotools",
    ),
    "no pkg_resources": (
        with_probe("pkg_resources", "ModuleNotFoundError: No module named 'pkg_resources'"),
        "pkg_resources imported",
        "No module named 'pkg_resources'",
        "imported",
        f"{SYNC} --reinstall-package setuptools",
    ),
    "the checkpoint does not load": (
        with_probe("checkpoint", "InputError: checkpoint.pth: must hold tensors"),
        "an mmengine checkpoint saved and loaded",
        "must hold tensors",
        "loaded; one with code in it: refused",
        f"{SYNC} --reinstall-package torch --reinstall-package mmengine",
    ),
    "a hostile checkpoint loads": (
        with_probe("checkpoint", hostile="loaded"),
        "an mmengine checkpoint saved and loaded",
        "'hostile': 'loaded'",
        "loaded; one with code in it: refused",
        f"{SYNC} --reinstall-package torch --reinstall-package mmengine",
    ),
    "mmdet does not import": (
        with_probe("models", "AssertionError: MMCV==2.2.0 is used but incompatible"),
        "mmdet and mmpose imported",
        "MMCV==2.2.0 is used but incompatible",
        "imported",
        f"{SYNC} --reinstall-package mmdet",
    ),
    "torch does not import": (
        with_probe("torch", "OSError: libcudart.so.13: cannot open shared object file"),
        "torch imported",
        "libcudart.so.13",
        "imported",
        f"{SYNC} --reinstall-package torch",
    ),
    "a GPU with an old driver": (
        lambda: make_facts(driver="550.54.15"),
        "GPU",
        "none seen, though there is an NVIDIA driver 550.54.15 (torch built for CUDA 13.0)",
        "driver 580 or later",
        "update the NVIDIA driver to 580 or later, or take the oldest stack, for which 525 is enough: "
        "make install-oldest",
    ),
    "a GPU that a container hides": (
        lambda: make_facts(driver="580.65.06"),
        "GPU",
        "none seen, though there is an NVIDIA driver 580.65.06",
        "seen by torch",
        "run nvidia-smi; in a container, start it with its GPUs (docker run --gpus all); check CUDA_VISIBLE_DEVICES",
    ),
    "a GPU and a torch without CUDA": (
        lambda: replace(with_probe("torch", cuda=None)(), driver="580.65.06"),
        "GPU",
        "torch built without CUDA",
        "a torch built for CUDA",
        f"{SYNC} --reinstall-package torch --reinstall-package torchvision",
    ),
    "a GPU too old for this torch": (
        with_gpu((6, 1), ["sm_75", "sm_90"]),
        "torch's kernels for Some GPU",
        "sm_61; torch built for CUDA 13.0 has sm_75, sm_90",
        "kernels that run on sm_61",
        "take the oldest stack, which has kernels down to sm_50: make install-oldest",
    ),
    "a GPU too new for this torch": (
        with_gpu((12, 0), ["sm_80", "sm_90"]),
        "torch's kernels for Some GPU",
        "sm_120; torch built for CUDA 13.0 has sm_80, sm_90",
        "kernels that run on sm_120",
        "take the newest stack, which has kernels for it: make install",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_is_found_and_comes_with_its_fix(problem: str) -> None:
    make, name, found, expected, fix = PROBLEMS[problem]
    checks = {check.name: check for check in examine(make())}
    assert not checks[name].ok
    assert found in checks[name].found
    assert expected in checks[name].expected
    assert checks[name].fix == fix


def test_where_all_is_well_nothing_is_to_be_mended() -> None:
    checks = examine(make_facts())
    assert [check.name for check in checks if not check.ok or check.fix] == []
    assert len({check.name for check in checks}) == len(checks)
    document = as_document(checks)
    assert document["ok"] is True
    assert document["checks"][0] == {"name": "python", "ok": True, "found": "3.11.7", "expected": "3.11", "fix": ""}


def test_the_oldest_stack_and_those_between_are_in_order() -> None:
    oldest = {name: tested.oldest or tested.newest for name, tested in STACK.items()}
    between = {**oldest, "torch": "2.7.1", "torchvision": "0.22.1"}
    # A CPU build of both belongs together, too.
    cpu = {**oldest, "torch": "2.7.1+cpu", "torchvision": "0.22.1+cpu"}
    for versions in (oldest, between, cpu):
        assert [check for check in examine(make_facts(distributions=versions)) if not check.ok] == []


def test_without_the_extra_the_core_is_told_and_one_command() -> None:
    core = {"numpy": "2.1.0", "pillow": "11.0.0", "pydantic": "2.7.0", "setuptools": "81.0.0"}
    checks = examine(make_facts(distributions=core, missing=("torch", "mmcv"), probes={}))
    # numpy 2 is nothing wrong where only the core is wanted.
    assert [check.name for check in checks if not check.ok] == ["train extra"]
    assert checks[-1].found == "not installed: torch, mmcv"
    assert "without it convert, validate, split, config and skeleton work" in checks[-1].expected
    assert checks[-1].fix == SYNC
    found = {check.name: check.found for check in checks}
    assert (found["numpy"], found["pillow"], found["rich"]) == ("2.1.0", "11.0.0", "not installed")


def named(facts: StackFacts, name: str) -> Check:
    return next(check for check in examine(facts) if check.name.startswith(name))


@pytest.mark.parametrize(
    ("capability", "kernels"),
    [
        ((9, 0), ["sm_75", "sm_90"]),
        # Binaries run on later minor versions of the same major version, PTX on everything later.
        ((8, 9), ["sm_80", "sm_90"]),
        ((12, 1), ["sm_90", "compute_90"]),
        ((9, 0), ["sm_90a"]),
    ],
)
def test_a_gpu_that_torch_has_kernels_for(capability: tuple[int, int], kernels: list[str]) -> None:
    facts = with_gpu(capability, kernels)()
    assert named(facts, "torch's kernels").ok
    assert named(facts, "GPU").found == "Some GPU"


def test_which_nms_is_in_force_is_told() -> None:
    assert named(make_facts(), "ops").found == "torchvision's on the CPU; torchvision's on a GPU"
    compiled = with_probe("mmcv", ops={"cpu": "mmcv", "cuda": "torchvision"})()
    assert named(compiled, "ops").found == "mmcv's own (compiled) on the CPU; torchvision's on a GPU"
    gpu = with_gpu((9, 0), ["sm_90"])()
    both = Probe(True, {"kept": {"cpu": [1]}, "ops": {"cpu": "mmcv", "cuda": "mmcv"}})
    found = named(replace(gpu, probes={**gpu.probes, "mmcv": both}), "ops").found
    assert found == "mmcv's own (compiled) on the CPU; mmcv's own (compiled) on the GPU"
    assert named(with_probe("mmcv", "no ops")(), "ops").found.startswith("unknown")


def test_a_machine_without_a_gpu_or_with_a_hidden_one_is_in_order() -> None:
    assert named(make_facts(), "GPU").found.startswith("none on this machine: training runs on the CPU")
    hidden = make_facts(driver="550.54.15", visible="")
    assert named(hidden, "GPU").ok
    assert "hidden by CUDA_VISIBLE_DEVICES" in named(hidden, "GPU").found


def test_what_follows_from_a_problem_is_not_told_again() -> None:
    facts = with_probe("mmcv", "No module named 'mmcv._ext'")()
    broken = {**facts.probes, "models": Probe(False, error="No module named 'mmcv._ext'")}
    assert [check.name for check in examine(replace(facts, probes=broken)) if not check.ok] == ["mmcv's ops"]


def test_the_commands_fit_the_environment() -> None:
    facts = with_versions(numpy="2.1.0", mmcv="2.1.0")()
    own = replace(facts, uv=".tools/uv/bin/uv", prefix="/home/me/.venv")
    assert named(own, "numpy").fix == ".tools/uv/bin/uv sync --inexact --extra train"
    assert named(own, "one mmcv").fix.startswith(".tools/uv/bin/uv pip uninstall --python /home/me/.venv mmcv && ")
    fixes: dict[StackKind, str] = {
        "oldest": "rm -rf .venv-oldest && make install-oldest",
        "other": "make install, in a checkout of posetools, and use its .venv/bin/posetools",
    }
    for kind, fix in fixes.items():
        other = replace(facts, kind=kind, python=(3, 12, 0))
        assert {check.fix for check in examine(other) if not check.ok} == {fix}


def test_the_tested_versions_are_those_of_pyproject() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    declared: dict[str, Versions] = {}
    for requirement in tomllib.loads(text)["project"]["optional-dependencies"]["train"]:
        name, oldest, below = re.fullmatch(r"([a-z-]+)[>=]=([\d.]+)(?:,<([\d.]+))?", requirement).groups()  # type: ignore[union-attr]
        declared[name] = Versions("", oldest, below or "")
    assert declared.keys() == STACK.keys()
    for name, tested in STACK.items():
        if tested.below:
            assert declared[name].below == tested.below
            least = release(declared[name].oldest)
            assert release(tested.oldest)[: len(least)] == least
            assert release(tested.oldest) < release(tested.newest) < release(tested.below)
        else:
            assert declared[name].oldest == tested.newest


# From here on the conditions are real: a process in which something of the stack is another, or is not there.


def put_before(monkeypatch: pytest.MonkeyPatch, folder: Path, module: str, text: str) -> None:
    """Write a module that a new process finds before the installed one of that name."""
    (folder / f"{module}.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_a_probe_that_crashes_is_a_problem_and_no_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_before(monkeypatch, tmp_path, "pkg_resources", "import os\nos.abort()\n")
    probe = probes.run_probe("pkg_resources")
    assert not probe.ok
    assert probe.error == "the process ended with status -6"


def test_a_probe_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(probes, "_SECONDS", 0.5)
    put_before(monkeypatch, tmp_path, "pkg_resources", "import time\ntime.sleep(60)\n")
    assert probes.run_probe("pkg_resources") == Probe(False, error="no answer after 0.5 s")


def test_the_distribution_that_is_imported_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("numpy-2.1.0", "opencv_python_headless-4.11.0.86"):
        folder = tmp_path / f"{name}.dist-info"
        folder.mkdir()
        package, version = name.split("-")
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = probes.installed()
    assert found["numpy"] == "2.1.0"
    assert found["opencv-python-headless"] == "4.11.0.86"


@pytest.mark.train
def test_an_mmcv_without_ops_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_before(monkeypatch, tmp_path, "sitecustomize", "import sys\nsys.modules['mmcv._ext'] = None\n")
    probe = probes.run_probe("mmcv")
    assert not probe.ok
    assert "mmcv._ext" in probe.error


@pytest.mark.train
def test_a_torchvision_of_another_torch_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "raise RuntimeError('operator torchvision::nms does not exist')\n"
    put_before(monkeypatch, tmp_path, "torchvision", text)
    probe = probes.run_probe("torchvision")
    assert probe == Probe(False, error="RuntimeError: operator torchvision::nms does not exist")
