"""Checkpoints of mmengine load with their log; files that would run code do not."""

from __future__ import annotations

import copy
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posetools.errors import InputError, RequestError
from posetools.mm.checkpoint import allow_mmengine_checkpoints, load_checkpoint, load_from_url

pytestmark = pytest.mark.train


class Reduced:
    """Pickles as a call of ``function`` with ``arguments``: unpickling it is that call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def make_runner(work_dir: Path, iterations: int, name: str, *, resume: bool = False) -> Any:
    """Return an mmengine Runner over a model of one weight, which logs at each iteration."""
    import torch
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class OneWeight(BaseModel):  # type: ignore[misc]  # mmengine ships no types.
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, inputs: Any, mode: str = "tensor") -> Any:
            return {"loss": (self.weight * inputs).mean()} if mode == "loss" else inputs

    return Runner(
        model=OneWeight(),
        work_dir=str(work_dir),
        train_dataloader={
            "batch_size": 1,
            "dataset": [(torch.ones(1),)] * 4,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "collate_fn": {"type": "default_collate"},
        },
        train_cfg={"by_epoch": False, "max_iters": iterations},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        default_hooks={
            "logger": {"type": "LoggerHook", "interval": 1},
            "checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 1},
        },
        resume=resume,
        experiment_name=name,
        log_level="ERROR",
    )


def test_an_mmengine_checkpoint_is_loaded_with_its_log_and_resumed(tmp_path: Path) -> None:
    from mmengine.logging import HistoryBuffer

    allow_mmengine_checkpoints()
    make_runner(tmp_path, 2, "first").train()
    path = tmp_path / "iter_2.pth"
    content = load_checkpoint(path)
    assert content["meta"]["iter"] == 2
    log = content["message_hub"]["log_scalars"]["train/loss"]
    assert isinstance(log, HistoryBuffer)
    assert len(log.data[0]) == 2
    assert log.statistics("current") == log.data[0][-1]

    resumed = make_runner(tmp_path, 3, "second", resume=True)
    resumed.train()
    assert resumed.iter == 3
    # The log continues, so it was resumed, too.
    assert len(resumed.message_hub.get_scalar("train/loss").data[0]) == 3


def hostile(flag: Path) -> dict[str, tuple[Any, str]]:
    """Return objects whose unpickling does harm, each with the name that the error must contain."""
    from mmengine.logging import HistoryBuffer

    command = f"touch {flag}"
    return {
        "system": (Reduced(os.system, command), f"{os.system.__module__}.system"),
        "eval": (Reduced(eval, f"open({str(flag)!r}, 'w')"), "eval"),
        "open": (Reduced(open, str(flag), "w"), "open"),
        "getattr of a module's function": (Reduced(getattr, Reduced(__import__, "os"), "system"), "__import__"),
        "getattr of another class": (Reduced(getattr, OrderedDict, "fromkeys"), "OrderedDict'>, 'fromkeys'"),
        "getattr of HistoryBuffer's other names": (Reduced(getattr, HistoryBuffer, "__init__"), "__init__"),
        "a dotted name": (Reduced(getattr, HistoryBuffer, "min.__globals__"), "min.__globals__"),
    }


HOSTILE = (
    "system",
    "eval",
    "open",
    "getattr of a module's function",
    "getattr of another class",
    "getattr of HistoryBuffer's other names",
    "a dotted name",
)


@pytest.mark.parametrize("layout", ["zip", "legacy", "bare pickle"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_would_run_code_is_refused(tmp_path: Path, kind: str, layout: str) -> None:
    import torch
    from mmengine.runner import CheckpointLoader

    flag = tmp_path / "flag"
    value, named = hostile(flag)[kind]
    path = tmp_path / "weights.pth"
    content = {"state_dict": {"weight": torch.ones(1)}, "meta": value}
    if layout == "bare pickle":
        path.write_bytes(pickle.dumps({"meta": value}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")

    loaders: list[Callable[[], Any]] = [
        lambda: load_checkpoint(path),
        lambda: CheckpointLoader.load_checkpoint(str(path), map_location="cpu"),
        lambda: load_from_url(path.as_uri(), model_dir=str(tmp_path / "cache")),
    ]
    for load in loaders:
        with pytest.raises(InputError) as caught:
            load()
        problem = caught.value.problem
        assert caught.value.path.name == "weights.pth"
        assert problem.startswith("must hold tensors, plain values and mmengine's log only, so that loading it runs")
        assert named in problem
        assert "do not trust this file" in caught.value.hint and "publish --trust" in caught.value.hint
        assert "weights_only" not in str(caught.value)
    assert not flag.exists()


def test_torchs_own_loader_uses_the_replaced_getattr(tmp_path: Path) -> None:
    # After allow_mmengine_checkpoints a plain torch.load, as in mmdet's and mmpose's tools, is just as strict.
    import torch

    if not hasattr(torch.serialization, "add_safe_globals"):
        pytest.skip("this torch takes no list")
    allow_mmengine_checkpoints.cache_clear()
    allow_mmengine_checkpoints()
    path = tmp_path / "weights.pth"
    torch.save({"meta": Reduced(getattr, OrderedDict, "fromkeys")}, path)
    with pytest.raises(pickle.UnpicklingError, match="getattr"):
        torch.load(path)


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (lambda good: good[: len(good) // 2], "is not a checkpoint, or is damaged: "),
    "empty": (lambda _: b"", "is not a checkpoint, or is damaged: "),
    "text": (lambda _: b"<html>404 Not Found</html>\n", "is not a checkpoint, or is damaged: "),
    "another pickle": (lambda _: pickle.dumps({"a": 1}, protocol=4), "is not a checkpoint, or is damaged: "),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_damaged_file_is_named(tmp_path: Path, kind: str) -> None:
    import torch

    break_it, sentence = BROKEN[kind]
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {"weight": torch.ones(100)}}, path)
    path.write_bytes(break_it(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_one_that_is_not_a_dict(tmp_path: Path) -> None:
    import torch

    with pytest.raises(InputError, match=r"nowhere\.pth: cannot be read: No such file or directory"):
        load_checkpoint(tmp_path / "nowhere.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"list\.pth: must be a checkpoint \(a dict\), got list"):
        load_checkpoint(tmp_path / "list.pth")


def test_an_unreachable_url_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    url = (tmp_path / "nowhere" / "rtmdet.pth").as_uri()
    with pytest.raises(RequestError) as caught:
        load_from_url(url, model_dir=str(tmp_path / "cache"))
    assert str(caught.value).startswith(f"{url}: cannot be downloaded: ")
    assert "pass the file instead" in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_numpy_values_of_a_data_sets_meta_survive(tmp_path: Path) -> None:
    # mmpose stores sigmas, joint weights and link colors in every checkpoint as numpy arrays.
    import numpy as np
    import torch

    meta: dict[str, Any] = {
        "sigmas": np.linspace(0.02, 0.1, 8, dtype=np.float32),
        "colors": np.arange(24, dtype=np.uint8).reshape(8, 3),
        "best": np.float64(0.5),
        "seen": np.int64(7),
        "raw": b"\x00\xff",
    }
    torch.save({"meta": meta}, tmp_path / "weights.pth")
    loaded = load_checkpoint(tmp_path / "weights.pth")["meta"]
    for key, value in meta.items():
        assert type(loaded[key]) is type(value)
        assert np.array_equal(loaded[key], value)
        if isinstance(value, np.ndarray):
            assert loaded[key].dtype == value.dtype


# Small files that are large in memory.


def deflated(path: Path) -> None:
    """Compress the members of an archive, so that 100 MB of zeros take 100 kB."""
    with zipfile.ZipFile(path) as archive:
        members = [(member, archive.read(member)) for member in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member.filename, content)


def named_again(path: Path) -> None:
    """Make the directory of an archive name the same bytes a thousand times."""
    with zipfile.ZipFile(path, "a") as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        for number in range(1000):
            member = copy.copy(largest)
            member.filename = f"{largest.filename}{number}"
            archive.filelist.append(member)
        archive._didModify = True  # type: ignore[attr-defined]  # The directory is written when it is closed.


def nested(levels: int, times: int) -> list[Any]:
    value: list[Any] = [0] * 10
    for _ in range(levels):
        value = [value] * times
    return value


def itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


LARGE: dict[str, tuple[Callable[[Path], None] | None, Callable[[], Any], str]] = {
    "deflated": (deflated, lambda: torch_zeros(25_000_000), "bytes when unpacked"),
    "named again": (named_again, lambda: torch_zeros(25_000), "bytes when unpacked"),
    "one number without end": (
        None,
        lambda: torch_zeros(1).expand(10**12),
        "a tensor must be at most 4 bytes",
    ),
    "a pickle of itself": (None, itself, "its content must not contain itself"),
    "a pickle of references": (None, lambda: nested(30, 10), "must repeat at most 1000000 values by references"),
    "a deep pickle": (None, lambda: nested(250, 1), "must be nested at most 200 levels deep"),
}


def torch_zeros(count: int) -> Any:
    import torch

    return torch.zeros(count)


@pytest.mark.parametrize("kind", LARGE)
def test_a_small_file_that_would_fill_the_memory_is_refused(tmp_path: Path, kind: str) -> None:
    import torch

    change, value, problem = LARGE[kind]
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {"weight": torch.ones(1)}, "meta": {"x": value()}}, path)
    if change:
        change(path)
    assert path.stat().st_size < 500_000
    for trusted in (False, True):
        with pytest.raises(InputError) as caught:
            load_checkpoint(path, trusted=trusted)
        assert problem in caught.value.problem and "do not trust it" in caught.value.hint


def test_shared_or_empty_weights_are_accepted(tmp_path: Path) -> None:
    import torch

    weight = torch.ones(1000, 1000)
    shared = {f"layer{i}": weight for i in range(50)}
    torch.save({"state_dict": {**shared, "empty": torch.ones(0), "one": torch.ones(1).expand(100)}}, tmp_path / "a.pth")
    assert len(load_checkpoint(tmp_path / "a.pth")["state_dict"]) == 52
