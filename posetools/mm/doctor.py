"""Whether this environment can train: from the facts (posetools/mm/probes.py) to checks, each with its fix.

Everything here is pure: the same facts give the same checks, so that every problem can be tested without having it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from posetools.mm.environment import (
    CORE,
    DRIVERS,
    MMCV,
    OPENCV,
    PYTHON,
    STACK,
    Check,
    Probe,
    StackFacts,
    Versions,
    release,
)

_NOT_INSTALLED = "not installed"


def examine(facts: StackFacts) -> tuple[Check, ...]:
    """Return every check in a fixed order; training can go on when all are in order."""
    checks = [_check_python(facts)]
    if facts.missing:
        checks += [Check(name, True, _version(facts, name), "installed") for name in CORE]
        checks.append(_check_extra(facts))
        return tuple(checks)
    checks += [_check_version(facts, name, tested) for name, tested in STACK.items()]
    checks.append(_check_pair(facts))
    checks.append(_check_single(facts, "one opencv package", OPENCV, OPENCV[:1], "cv2"))
    checks.append(_check_single(facts, "one mmcv package", MMCV, MMCV[:2], "mmcv"))
    checks += _check_probes(facts)
    checks += _check_gpu(facts)
    return tuple(checks)


def as_document(checks: Sequence[Check]) -> dict[str, Any]:
    """Return the checks as a document: ``ok`` as a whole, and every check with its five fields."""
    return {"ok": all(check.ok for check in checks), "checks": [asdict(check) for check in checks]}


def _check_python(facts: StackFacts) -> Check:
    expected = ".".join(map(str, PYTHON))
    ok = facts.python[:2] == PYTHON
    found = ".".join(map(str, facts.python))
    if ok:
        return Check("python", True, found, expected)
    fix = "rm -rf .venv && make install" if facts.kind == "newest" else _sync(facts)
    return Check("python", False, found, f"{expected}; numpy 1.23.5 exists for no later one", fix)


def _check_extra(facts: StackFacts) -> Check:
    # The one command mends everything else that may be wrong, so nothing else is said.
    expected = (
        "installed; without it convert, validate, split, config and skeleton work, and train, eval and demo do not"
    )
    return Check("train extra", False, f"not installed: {', '.join(facts.missing)}", expected, _sync(facts))


def _check_version(facts: StackFacts, name: str, tested: Versions) -> Check:
    found = _version(facts, name)
    if tested.below:
        ok = release(tested.oldest) <= release(found) < release(tested.below)
        expected = f"{tested.oldest} to {tested.newest}"
    else:
        ok = release(found) == release(tested.newest)
        expected = tested.newest
    if tested.why and not ok:
        expected += f"; {tested.why}"
    return Check(name, ok, found, expected, "" if ok else _sync(facts))


def _check_pair(facts: StackFacts) -> Check:
    """Compare torch with torchvision: 2.x goes with 0.(x + 15), and both are built for the same device."""
    torch, torchvision = _version(facts, "torch"), _version(facts, "torchvision")
    numbers, build = release(torch), torch.partition("+")[2]
    expected = f"0.{numbers[1] + 15}" if len(numbers) > 1 else "the one made for this torch"
    ok = release(torchvision)[:2] == release(expected) and torchvision.partition("+")[2] == build
    return Check(
        "torch and torchvision belong together",
        ok,
        f"torch {torch}, torchvision {torchvision}",
        f"torchvision {expected}" + (f" built for {build}" if build else ""),
        "" if ok else _sync(facts, "--reinstall-package torch --reinstall-package torchvision"),
    )


def _check_single(facts: StackFacts, name: str, packages: Sequence[str], wanted: Sequence[str], folder: str) -> Check:
    """Check that of several packages which write one folder only one is installed, and a wanted one."""
    there = [package for package in packages if package in facts.distributions]
    ok = len(there) == 1 and there[0] in wanted
    others = [package for package in there if package != wanted[0]] if not ok else []
    fix = "" if ok else _sync(facts, f"--reinstall-package {wanted[0]}" if there else "")
    if others and facts.kind == "newest":
        fix = f"{facts.uv} pip uninstall --python {facts.prefix} {' '.join(others)} && {fix}"
    return Check(
        name,
        ok,
        " and ".join(there) or _NOT_INSTALLED,
        f"{' or '.join(wanted)} alone" + (f" (each of them writes the folder {folder})" if others else ""),
        fix,
    )


def _check_probes(facts: StackFacts) -> Iterator[Check]:
    yield _check_nms(facts, "mmcv", "mmcv's ops", "--reinstall-package mmcv-lite")
    yield _check_nms(
        facts, "torchvision", "torchvision's compiled ops", "--reinstall-package torch --reinstall-package torchvision"
    )
    yield _check_import(facts, "xtcocotools", "xtcocotools")
    yield _check_import(facts, "pkg_resources", "setuptools")
    yield _check_checkpoint(facts)
    if all(facts.probes[name].ok for name in ("torch", "mmcv", "torchvision", "xtcocotools", "pkg_resources")):
        # Otherwise their import fails for a reason that has been given.
        yield _check_import(facts, "models", "mmdet", "mmdet and mmpose imported")


def _check_nms(facts: StackFacts, name: str, what: str, reinstall: str) -> Check:
    probe = facts.probes[name]
    kept = probe.found.get("kept", {})
    ok = probe.ok and bool(kept) and all(indices == [1] for indices in kept.values())
    found = f"nms of two boxes on {' and '.join(kept)}: kept {', '.join(map(str, kept.values()))}" if kept else ""
    return Check(what, ok, found or probe.error, "nms keeps [1]", "" if ok else _sync(facts, reinstall))


def _check_import(facts: StackFacts, name: str, package: str, what: str = "") -> Check:
    probe = facts.probes[name]
    return Check(
        what or f"{name} imported",
        probe.ok,
        "imported" if probe.ok else probe.error,
        "imported",
        "" if probe.ok else _sync(facts, f"--reinstall-package {package}"),
    )


def _check_checkpoint(facts: StackFacts) -> Check:
    probe = facts.probes["checkpoint"]
    ok = probe.ok and dict(probe.found) == {"loaded": 1.0, "hostile": "refused"}
    found = "loaded; one with code in it: refused" if ok else probe.error or f"{dict(probe.found)}"
    fix = "" if ok else _sync(facts, "--reinstall-package torch --reinstall-package mmengine")
    return Check("an mmengine checkpoint saved and loaded", ok, found, "loaded; one with code in it: refused", fix)


def _check_gpu(facts: StackFacts) -> Iterator[Check]:
    torch = facts.probes["torch"]
    if not torch.ok:
        fix = _sync(facts, "--reinstall-package torch")
        yield Check("torch imported", False, torch.error, "imported", fix)
        return
    cuda = torch.found["cuda"]
    built = f"torch built for CUDA {cuda}" if cuda else "torch built without CUDA"
    gpus = torch.found["gpus"]
    yield _check_visible(facts, cuda, built, gpus)
    for gpu in gpus:
        yield _check_kernels(gpu, torch.found["kernels"], built)
    yield _check_backend(facts.probes["mmcv"], bool(gpus))


def _check_visible(facts: StackFacts, cuda: str | None, built: str, gpus: Sequence[Any]) -> Check:
    """Check that torch sees the GPUs of a machine that has an NVIDIA driver; a machine without one is in order."""
    name = "GPU"
    if gpus:
        return Check(name, True, ", ".join(gpu["name"] for gpu in gpus), "seen by torch")
    if facts.driver is None:
        return Check(name, True, f"none on this machine: training runs on the CPU ({built})", "not needed")
    if facts.visible is not None and facts.visible.strip() in {"", "-1"}:
        return Check(name, True, "hidden by CUDA_VISIBLE_DEVICES: training runs on the CPU", "not needed")
    found = f"none seen, though there is an NVIDIA driver {facts.driver} ({built})"
    if cuda is None:
        fix = _sync(facts, "--reinstall-package torch --reinstall-package torchvision")
        return Check(name, False, found, "a torch built for CUDA", fix)
    needed = DRIVERS.get(cuda.partition(".")[0], 0)
    if release(facts.driver) and release(facts.driver)[0] < needed:
        fix = f"update the NVIDIA driver to {needed} or later"
        if cuda.startswith("13"):
            fix += f", or take the oldest stack, for which {DRIVERS['12']} is enough: make install-oldest"
        return Check(name, False, found, f"driver {needed} or later", fix)
    fix = "run nvidia-smi; in a container, start it with its GPUs (docker run --gpus all); check CUDA_VISIBLE_DEVICES"
    return Check(name, False, found, "seen by torch", fix)


def _check_kernels(gpu: Any, kernels: Sequence[str], built: str) -> Check:
    """Check that torch was built for a GPU: for its major version and no later minor one, or as PTX for an older."""
    major, minor = gpu["capability"]
    ok = any(_runs(kernel, major, minor) for kernel in kernels)
    newest = "take the newest stack, which has kernels for it: make install"
    oldest = "take the oldest stack, which has kernels down to sm_50: make install-oldest"
    fix = "" if ok else newest if (major, minor) > (9, 0) else oldest
    found = f"sm_{major}{minor}; {built} has {', '.join(kernels)}"
    return Check(f"torch's kernels for {gpu['name']}", ok, found, f"kernels that run on sm_{major}{minor}", fix)


def _runs(kernel: str, major: int, minor: int) -> bool:
    kind, _, number = kernel.partition("_")
    digits = "".join(character for character in number if character.isdigit())
    built = (int(digits[:-1] or 0), int(digits[-1:] or 0))
    return built <= (major, minor) if kind == "compute" else built[0] == major and built[1] <= minor


def _check_backend(mmcv: Probe, gpu: bool) -> Check:
    """Say whose ops run on which device; there always are some, so this is never a problem of its own."""
    if not mmcv.ok:
        found = "unknown: mmcv's ops cannot be called"
    else:
        names = {"mmcv": "mmcv's own (compiled)", "torchvision": "torchvision's"}
        cpu, cuda = (names[mmcv.found["ops"][device]] for device in ("cpu", "cuda"))
        found = f"{cpu} on the CPU; {cuda} on {'the GPU' if gpu else 'a GPU'}"
    return Check("ops in use (NMS, RoIAlign, deformable convolution)", True, found, "mmcv's or torchvision's")


def _version(facts: StackFacts, name: str) -> str:
    names = MMCV[:2] if name in MMCV[:2] else (name,)
    return next((facts.distributions[each] for each in names if each in facts.distributions), _NOT_INSTALLED)


def _sync(facts: StackFacts, options: str = "") -> str:
    """Return the command that brings the environment to what pyproject.toml says, and keeps what else is in it.

    The oldest stack has a resolution of its own, and other environments are not ours to change: those are made anew.
    """
    if facts.kind == "oldest":
        return "rm -rf .venv-oldest && make install-oldest"
    if facts.kind == "other":
        return "make install, in a checkout of posetools, and use its .venv/bin/posetools"
    return f"{facts.uv} sync --inexact --extra train {options}".rstrip()
