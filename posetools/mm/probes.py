"""Parts of the stack, really called: each in a process of its own, so that one that crashes takes nothing with it.

``python -m posetools.mm.probes NAME`` runs one probe and prints what it returns as one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from posetools.mm.environment import Probe, StackFacts, StackKind
from posetools.mm.stack import missing_packages
from posetools.progress import Progress, silent

# An import of the whole stack takes seconds; on a cold and busy disk it has been seen to take a minute.
_SECONDS = 180

_DRIVER = Path("/proc/driver/nvidia/version")


def probe_torch() -> dict[str, Any]:
    """Return what torch says about itself and about the GPUs that it sees."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "kernels": torch.cuda.get_arch_list(),
        "gpus": [
            {"name": torch.cuda.get_device_name(gpu), "capability": list(torch.cuda.get_device_capability(gpu))}
            for gpu in range(gpus)
        ],
    }


def probe_torchvision() -> dict[str, Any]:
    """Call torchvision's compiled NMS on two boxes that overlap, on every kind of device there is."""
    from torchvision.ops import nms

    return {"kept": {device: nms(*_two_boxes(device), 0.5).tolist() for device in _devices()}}


def probe_mmcv() -> dict[str, Any]:
    """Call mmcv's NMS on two boxes that overlap, on every kind of device there is."""
    from posetools.mm.ops import backend, install

    install()
    from mmcv.ops import nms

    return {
        "kept": {device: nms(*_two_boxes(device), iou_threshold=0.5)[1].tolist() for device in _devices()},
        "ops": {device: backend(device) for device in ("cpu", "cuda")},
    }


def probe_checkpoint() -> dict[str, Any]:
    """Save what mmengine saves, load it through the allow-list, and see a file that would run code refused."""
    import torch
    from mmengine.logging import HistoryBuffer

    from posetools.errors import InputError
    from posetools.mm.checkpoint import load_checkpoint

    class HostileObject:
        def __reduce__(self) -> Any:
            return os.getcwd, ()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        torch.save({"state_dict": {"weight": torch.ones(2)}, "message_hub": HistoryBuffer([1.0], [1])}, path)
        loaded = load_checkpoint(path)["message_hub"].statistics("current")
        torch.save({"state_dict": HostileObject()}, path)
        try:
            load_checkpoint(path)
        except InputError:
            return {"loaded": float(loaded), "hostile": "refused"}
        return {"loaded": float(loaded), "hostile": "loaded"}


def _imports(*names: str) -> Callable[[], dict[str, Any]]:
    return lambda: {"imported": [importlib.import_module(name).__name__ for name in names]}


PROBES: dict[str, Callable[[], dict[str, Any]]] = {
    "torch": probe_torch,
    "torchvision": probe_torchvision,
    "mmcv": probe_mmcv,
    "checkpoint": probe_checkpoint,
    # The two libraries of models check one another's versions when they are imported.
    "models": _imports("mmdet", "mmpose", "mmdet.apis", "mmpose.apis"),
    "xtcocotools": _imports("xtcocotools._mask"),
    "pkg_resources": _imports("pkg_resources"),
}


def gather_facts(progress: Progress = silent) -> StackFacts:
    """Return what is found on this machine; the probes run only when every package of the stack is there."""
    missing = missing_packages()
    probes: dict[str, Probe] = {}
    if not missing:
        with ThreadPoolExecutor(max_workers=2) as pool:
            for name, probe in zip(PROBES, pool.map(run_probe, PROBES), strict=True):
                probes[name] = probe
                progress("checking", len(probes), len(PROBES))
    return StackFacts(
        python=sys.version_info[:3],
        distributions=installed(),
        missing=missing,
        driver=_driver(),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        probes=probes,
        uv=_uv(),
        kind=_kind(),
        prefix=sys.prefix,
    )


def run_probe(name: str) -> Probe:
    """Run one probe in a process of its own, without the current folder on its path."""
    command = [sys.executable, "-P", "-W", "ignore", "-m", "posetools.mm.probes", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Probe(ok=False, error=f"no answer after {_SECONDS} s")
    answer = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode == 0 and answer:
        return Probe(ok=True, found=json.loads(answer[-1]))
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return Probe(ok=False, error=said[-1] if said else f"the process ended with status {done.returncode}")


def installed() -> dict[str, str]:
    """Return the version of every distribution on the path; where there are two of a name, the one that is imported."""
    versions: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return versions


def _driver() -> str | None:
    if not _DRIVER.is_file():
        return None
    found = re.search(r"\s(\d+\.\d+(\.\d+)?)\s", _DRIVER.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else "of unknown version"


def _uv() -> str:
    own = Path(sys.prefix).parent / ".tools" / "uv" / "bin" / "uv"
    return ".tools/uv/bin/uv" if shutil.which("uv") is None and own.is_file() else "uv"


def _kind() -> StackKind:
    folder = Path(sys.prefix)
    if not (folder.parent / "posetools" / "mm" / "environment.py").is_file():
        return "other"
    return "newest" if folder.name == ".venv" else "oldest" if folder.name == ".venv-oldest" else "other"


def _devices() -> list[str]:
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def _two_boxes(device: str) -> tuple[Any, Any]:
    import torch

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0]], device=device)
    return boxes, torch.tensor([0.1, 0.9], device=device)


if __name__ == "__main__":
    print(json.dumps(PROBES[sys.argv[1]]()))
