"""Reads DeepLabCut's .h5 files without pandas, which unpickles parts of such a file and so could run code.

pandas writes a table in one of two layouts. This module reads both with h5py, which never unpickles:

- ``fixed`` (written by DeepLabCut): arrays with the levels and codes of both axes, and blocks of numbers.
- ``table`` (older versions): one array of records. The names of its columns are pickled lists of tuples of
  text; an unpickler that looks up no names reads them, so it can build only such plain values.

Refused: arrays of pickled objects, pickles that name a class or a function, links and arrays in other files,
and arrays larger than LARGEST_BYTES, however large the file is.

If the description of an 8-byte number is damaged, h5py reads it as 16 bytes, but allocates an array of records with
the size that the file declares. HDF5 then writes beyond the array, over other memory. And a file of a few bytes can
declare an array of any size.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posetools.errors import MissingExtraError, first_line, must_be, show_value

# Protects from tiny files that declare huge arrays. A million images with sixteen points need 256 MB.
LARGEST_BYTES = 1 << 29
LEVELS = ("scorer", "individuals", "bodyparts", "coords")
_TABLE_RULE = f"a table with the column levels {', '.join(LEVELS)}"
# h5py's errors for damaged files, pickle errors, and the errors that wrong shapes and types cause here.
_BROKEN_H5 = (
    OSError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    EOFError,
    MemoryError,
    OverflowError,
    pickle.UnpicklingError,
)


@dataclass(frozen=True, slots=True)
class H5Table:
    """The table in a file.

    Attributes:
        heads: for each level of the columns, by its name, the text per column.
        images: per row, the parts of the image's path.
        values: per row, one number per column.
    """

    heads: Mapping[str, list[str]]
    images: Sequence[Sequence[str]]
    values: Sequence[Sequence[float]]


class _RefusedError(Exception):
    """The file's content is not read; the text says why."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise _RefusedError(must_be("a pickle in the file", "plain text and numbers", f"{module}.{name}"))


def read_frame(path: Path) -> H5Table | str:
    """Return the table in an .h5 file, or why it is not read.

    Raises:
        MissingExtraError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as exc:
        raise MissingExtraError("reading DeepLabCut's .h5 files", "deeplabcut", exc.name or "h5py") from exc
    if not path.is_file():
        # Opening a pipe would wait for a writer.
        return "must be a regular file"
    try:
        with h5py.File(path, "r") as file:
            return _frame(file)
    except _RefusedError as exc:
        return str(exc)
    except _BROKEN_H5 as exc:
        return f"is not a pandas table: {show_value(first_line(exc))}"


def _frame(file: Any) -> H5Table:
    groups = [node for node in (_child(file, name) for name in file) if "pandas_type" in node.attrs]
    if len(groups) != 1:
        raise _RefusedError(must_be("the file", "one pandas table", len(groups)))
    kind = _attribute(groups[0], "pandas_type")
    if kind == "frame":
        return _fixed(groups[0])
    if kind == "frame_table":
        return _table(groups[0])
    raise _RefusedError(must_be("pandas_type", "frame or frame_table", kind))


def _fixed(group: Any) -> H5Table:
    names, keys = _columns(group, "axis0")
    if _attribute(group, "axis1_variety") == "multi":
        _, images = _multi(group, "axis1")
    else:
        images = [(text,) for text in _texts(_array(group, "axis1"))]
    columns: dict[tuple[str, ...], list[float]] = {}
    for block in range(int(group.attrs["nblocks"])):
        _, items = _columns(group, f"block{block}_items")
        values = _numbers(_array(group, f"block{block}_values"), (len(images), len(items)))
        columns.update(zip(items, values.T.tolist(), strict=True))
    return _joined(names, keys, images, columns)


def _table(group: Any) -> H5Table:
    ((axis, listed),) = _plain(group, "non_index_axes")
    names = [str(name) for name in _plain(group, "info").get(axis, {}).get("names", ())]
    keys = _checked(names, listed)
    table = _array(group, "table")
    images = [(text,) for text in _texts(table["index"])]
    node = _child(group, "table")
    columns: dict[tuple[str, ...], list[float]] = {}
    for field in table.dtype.names:
        if field != "index":
            items = _checked(names, _plain(node, f"{field}_kind"))
            values = _numbers(table[field], (len(images), len(items)))
            columns.update(zip(items, values.T.tolist(), strict=True))
    return _joined(names, keys, images, columns)


def _joined(
    names: Sequence[str],
    keys: Sequence[tuple[str, ...]],
    images: Sequence[tuple[str, ...]],
    columns: Mapping[tuple[str, ...], list[float]],
) -> H5Table:
    heads = {name: [key[level] for key in keys] for level, name in enumerate(names)}
    ordered = [columns[key] for key in keys]
    values = list(zip(*ordered, strict=True)) if ordered else [() for _ in images]
    return H5Table(heads, images, values)


def _columns(group: Any, axis: str) -> tuple[list[str], list[tuple[str, ...]]]:
    if _attribute(group, f"{axis}_variety") != "multi":
        raise _RefusedError(must_be("the file", _TABLE_RULE, "columns of one level"))
    names, keys = _multi(group, axis)
    return names, _checked(names, keys)


def _checked(names: Sequence[str], keys: Sequence[Any]) -> list[tuple[str, ...]]:
    """Return the columns' names after checking that each is one text per level and all are different."""
    if not set(names) <= set(LEVELS) or len(set(names)) != len(names) or len(names) < 2:
        raise _RefusedError(must_be("the file", _TABLE_RULE, names))
    checked = []
    for key in keys:
        if not isinstance(key, tuple) or len(key) != len(names) or not all(isinstance(text, str) for text in key):
            raise _RefusedError(must_be("a column's name", f"{len(names)} texts", key))
        checked.append(key)
    if len(set(checked)) != len(checked):
        raise _RefusedError(must_be("the columns", "all different", "two with one name"))
    return checked


def _multi(group: Any, axis: str) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the names of an axis' levels, and one text per level for each position on the axis."""
    names, levels = [], []
    for level in range(int(group.attrs[f"{axis}_nlevels"])):
        name = f"{axis}_level{level}"
        names.append(_attribute(_child(group, name), "name"))
        texts = _texts(_array(group, name))
        codes = _array(group, f"{axis}_label{level}").tolist()
        if any(not isinstance(code, int) or not 0 <= code < len(texts) for code in codes):
            raise _RefusedError(must_be(f"{axis}_label{level}", f"indices of {len(texts)} texts", codes))
        levels.append([texts[code] for code in codes])
    return names, list(zip(*levels, strict=True))


def _child(group: Any, name: str) -> Any:
    """Return a member of a group after checking that it is in this file."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise _RefusedError(must_be(name, "in the file itself", "a link"))
    return group[name]


def _array(group: Any, name: str) -> Any:
    """Return an array after checking that it has plain values, is in this file, and is not too large."""
    import h5py

    node = _child(group, name)
    if not isinstance(node, h5py.Dataset):
        raise _RefusedError(must_be(name, "an array", type(node).__name__))
    if node.external or node.is_virtual:
        raise _RefusedError(must_be(name, "in the file itself", "an array whose values are in another file"))
    if node.dtype.hasobject or "PSEUDOATOM" in node.attrs:
        raise _RefusedError(must_be(name, "an array of numbers or text", "pickled objects, which could run code"))
    if not has_room(node):
        raise _RefusedError(must_be(name, "an array of numbers or text", "numbers that fit in no array"))
    if node.nbytes > LARGEST_BYTES:
        raise _RefusedError(must_be(name, f"of at most {LARGEST_BYTES} bytes", node.nbytes))
    return node[()]


def _numbers(values: Any, shape: tuple[int, int]) -> Any:
    if values.dtype.kind not in "fiu" or values.shape != shape:
        raise _RefusedError(must_be("the values", f"numbers in {shape[0]} rows of {shape[1]}", values.shape))
    return values.astype("float64")


def _texts(values: Any) -> list[str]:
    """Return an array of text, or of whole numbers as text."""
    if values.ndim != 1 or values.dtype.kind not in "Siu":
        raise _RefusedError(must_be("names", "a list of texts", f"{values.dtype} of shape {values.shape}"))
    return [one.decode("utf-8") if isinstance(one, bytes) else str(one) for one in values.tolist()]


def _attribute(node: Any, name: str) -> str:
    value = node.attrs[name]
    if not isinstance(value, bytes | str):
        raise _RefusedError(must_be(name, "a text", type(value).__name__))
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _plain(node: Any, name: str) -> Any:
    value = node.attrs[name]
    if not isinstance(value, bytes):
        raise _RefusedError(must_be(name, "a pickled list of texts", type(value).__name__))
    return _PlainUnpickler(io.BytesIO(value)).load()


# Maximum compression ratio of deflate.
_UNPACKED = 1032


def has_room(array: Any) -> bool:
    """Return whether h5py's array for a dataset is large enough for what HDF5 writes into it."""
    import h5py

    return bool(h5py.h5t.py_create(array.dtype).get_size() <= array.dtype.itemsize)


def harmful_array(path: Path) -> tuple[str, str] | None:
    """Return the name of an array that must not be read, and why, or None if there is none.

    Raises:
        OSError, RuntimeError, LookupError, TypeError, ValueError: not an HDF5 file, or damaged elsewhere.
    """
    import h5py

    most = _UNPACKED * path.stat().st_size

    def look(name: str, node: Any) -> tuple[str, str] | None:
        if not isinstance(node, h5py.Dataset):
            return None
        if not has_room(node):
            return name, must_be(name, "an array of numbers or text", "numbers that fit in no array")
        if node.size is not None and node.nbytes > most:
            return name, must_be(name, f"of at most {most} bytes, the most that the file can hold", node.nbytes)
        return None

    with h5py.File(path, "r") as file:
        found: tuple[str, str] | None = file.visititems(look)
    return found
