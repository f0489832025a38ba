"""What h5py must not be asked to read of a damaged HDF5 file.

h5py takes a number of 8 bytes whose description in the file is damaged for one of 16, but gives an array of records
with such a field the room that the file declares. HDF5 then writes beyond the array, over what else is in the memory.
And a file of a few bytes can declare an array of any size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posetools.errors import must_be

# Deflate packs no more into a byte.
_UNPACKED = 1032


def has_room(array: Any) -> bool:
    """Return whether the array that h5py makes for a dataset has room for what HDF5 writes into it."""
    import h5py

    return bool(h5py.h5t.py_create(array.dtype).get_size() <= array.dtype.itemsize)


def harmful_array(path: Path) -> tuple[str, str] | None:
    """Return the name of an array that must not be read and what is wrong with it, or None when there is none.

    Raises:
        OSError, RuntimeError, LookupError, TypeError, ValueError: the file is no HDF5 file, or damaged elsewhere.
    """
    import h5py

    most = _UNPACKED * path.stat().st_size

    def look(name: str, node: Any) -> tuple[str, str] | None:
        if not isinstance(node, h5py.Dataset):
            return None
        if not has_room(node):
            return name, must_be(name, "an array of numbers or text", "numbers that fit in no array")
        if node.size is not None and node.nbytes > most:
            return name, must_be(name, f"of at most {most} bytes, which is all that the file can hold", node.nbytes)
        return None

    with h5py.File(path, "r") as file:
        found: tuple[str, str] | None = file.visititems(look)
    return found
