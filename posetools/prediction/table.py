"""Entries of predictions as Parquet: a row for each image; needs pyarrow, of the ``cluster`` extra."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posetools.errors import InputError, MissingExtraError

_MAPS = ("keypoints", "keypoint_scores")


def to_parquet(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the Parquet file of a shard's entries.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa, pq = load_pyarrow()
    instance = pa.struct(
        {
            "category": pa.string(),
            "box": pa.list_(pa.float64()),
            "score": pa.float64(),
            "keypoints": pa.map_(pa.string(), pa.list_(pa.float64())),
            "keypoint_scores": pa.map_(pa.string(), pa.float64()),
        }
    )
    columns = {"file_name": pa.string(), "width": pa.int32(), "height": pa.int32(), "problem": pa.string()}
    schema = pa.schema({**columns, "instances": pa.list_(instance)})
    rows = [{**entry, "instances": [_with_lists(one) for one in entry["instances"]]} for entry in entries]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
    return file.getvalue()


def _with_lists(instance: Mapping[str, Any]) -> dict[str, Any]:
    return {**instance, **{name: list(instance[name].items()) for name in _MAPS}}


def from_parquet(content: bytes, path: Path) -> list[dict[str, Any]]:
    """Return the entries of a shard.

    Args:
        content: the Parquet file.
        path: the file, for messages.

    Raises:
        InputError: it is not a Parquet file.
        MissingExtraError: pyarrow is not installed.
    """
    pa, pq = load_pyarrow()
    try:
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
    except pa.ArrowException as exc:
        raise InputError(
            path, "", f"must be a Parquet file: {exc}", hint="remove it, and run the same command"
        ) from exc
    return [
        {
            **_given(row),
            "instances": [_given(one) | {name: dict(one[name]) for name in _MAPS} for one in row["instances"]],
        }
        for row in rows
    ]


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def load_pyarrow() -> tuple[Any, Any]:
    """Return the modules ``pyarrow`` and ``pyarrow.parquet``.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise MissingExtraError("a Parquet file", "cluster", "pyarrow") from exc
    return pyarrow, pyarrow.parquet
