"""``posetools publish --trust``: the only way to load your own checkpoint that contains code."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest

from posetools.errors import InputError
from posetools.exporting.publish import publish
from posetools.mm.checkpoint import load_checkpoint
from tests.cli.run import run
from tests.mm.test_checkpoint import Reduced

pytestmark = pytest.mark.train


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a checkpoint as custom scripts write them: with the parsed command line in it."""
    import torch

    path = tmp_path / "old.pth"
    arguments = argparse.Namespace(lr=0.1)
    meta: dict[str, Any] = {"epoch": 3, "args": arguments, "ran": Reduced(os.system, f"touch {tmp_path / 'ran'}")}
    torch.save({"state_dict": {"weight": torch.ones(2)}, "meta": meta}, path)
    return path


def test_without_it_nothing_runs_and_the_message_names_it(old: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        publish(old, tmp_path / "new.pth")
    assert "so that loading it runs no code, got " in str(refused.value)
    assert "If you made it yourself, `posetools publish --trust` runs the code in it once" in refused.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.pth"]


def test_with_it_the_weights_are_kept_and_no_code(old: Path, tmp_path: Path) -> None:
    done = run("publish", old, "--out", tmp_path / "new.pth", "--trust")
    assert done.status == 0, done.err
    assert "meta.args is dropped: a Namespace has no plain form" in " ".join(done.out.split())
    assert (tmp_path / "ran").exists()
    (tmp_path / "ran").unlink()
    (new,) = tmp_path.glob("new-*.pth")
    content = load_checkpoint(new)
    assert content["state_dict"]["weight"].tolist() == [1.0, 1.0]
    assert content["meta"]["epoch"] == 3 and "args" not in content["meta"]
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_not_a_checkpoint_is_refused_with_trust_too(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"a\.pth: cannot be loaded, trusted or not: "):
        publish(tmp_path / "a.pth", tmp_path / "new.pth", trust=True)
