"""The benchmark of wrong labels: what it plants, and how it counts what is found."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from benchmarks.wrong_labels import KINDS, Error, line, with_errors
from tests.diagnosing import CAR8, cars


def _suspect(error: Error, score: float) -> dict[str, Any]:
    number = None if error.number < 0 else error.number + 1
    told = {"file_name": error.file_name, "object": number, "box": error.box, "kind": error.kind, "score": score}
    return {**told, "keypoints": [error.point]}


def test_one_object_in_20_has_an_error_of_the_kind_that_is_recorded() -> None:
    clean = cars()
    labels, errors = with_errors(clean, 1)
    counts = Counter(error.kind for error in errors)
    assert sum(counts.values()) == round(len(clean) / 20) and set(counts) == set(KINDS[: len(errors)])
    assert len(labels) == len(clean) - counts["object missing"]
    firsts = {image.file_name: rows.start for image, rows in zip(labels.images, labels.rows_of_images(), strict=True)}
    true_rows = {tuple(box): row for row, box in enumerate(clean.boxes.tolist())}
    for error in errors:
        true = clean.keypoints[true_rows[tuple(error.box)]]
        if error.number < 0:
            continue
        own = labels.keypoints[firsts[error.file_name] + error.number]
        changed = (own != true).any(axis=1)
        if error.point:
            assert changed.tolist() == [name == error.point for name in CAR8.names]
        else:
            assert changed.any() == (error.kind != "box")


def test_recall_stops_where_the_precision_falls_below_the_least() -> None:
    errors = [Error(f"{i}.jpg", i % 2, [0.0, 0.0, 9.0, 9.0], "moved", "left-front-tire") for i in range(4)]
    other = Error("9.jpg", 0, [0.0, 0.0, 9.0, 9.0], "moved", "left-front-tire")
    ranked = [errors[0], errors[1], other, errors[2], other, other, errors[3]]
    suspects = [_suspect(one, score) for one, score in zip(ranked, np.linspace(0.9, 0.1, 7), strict=True)]
    # Precision: 1, 1, 2/3, 3/4, 3/5, 1/2, 4/7.
    recall, average, *told = line(errors, suspects).split()
    assert (recall, float(average)) == ("0.75", round((1 + 1 + 0.75 + 4 / 7) / 4, 2))
    assert " ".join(told) == "3 of 4 right"
