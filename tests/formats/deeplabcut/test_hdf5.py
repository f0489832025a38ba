"""Types in a damaged HDF5 file for which h5py allocates too small an array."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from posetools.formats.deeplabcut.h5 import harmful_array

pytestmark = pytest.mark.skipif(importlib.util.find_spec("h5py") is None, reason="needs h5py")
# HDF5's description of a float64; it ends with the exponent bias of 1023.
_FLOAT64 = bytes.fromhex("3f000800000000004000340b0034ff03")


def strange_floats(content: bytes) -> Iterator[bytes]:
    """Yield HDF5 files, each with a different damaged description of float64."""
    for found in re.finditer(re.escape(_FLOAT64), content):
        yield content[: found.end() - 2] + b"\x96\x03" + content[found.end() :]


def test_an_array_that_is_too_small_is_named(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["group/points"] = np.zeros(16, dtype=[("x", "f8"), ("y", "f8"), ("visible", "?")])
        file["texts"] = ["a", "bc"]
        file["rows"] = np.zeros(2, dtype=[("index", "S3"), ("values", "i8", (4,))])
    assert harmful_array(path) is None
    first, second = strange_floats(path.read_bytes())
    path.write_bytes(first)
    message = "group/points must be an array of numbers or text, got 'numbers that fit in no array'"
    assert harmful_array(path) == ("group/points", message)
    path.write_bytes(second)
    with pytest.raises(ValueError, match="bytes"):
        harmful_array(path)


def test_an_array_that_is_larger_than_the_file_can_hold(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("empty", data=h5py.Empty("f8"))
        file.create_dataset("packed", data=np.zeros(1_000_000), compression="gzip", compression_opts=9)
    assert harmful_array(path) is None, "8 MB in a few kB"
    with h5py.File(path, "r+") as file:
        file.create_dataset("huge", shape=(1 << 50,), maxshape=(None,), dtype="f8")
    found = harmful_array(path)
    assert found and found[0] == "huge"
    assert found[1].startswith("huge must be of at most ") and found[1].endswith(f"got {8 << 50}")
