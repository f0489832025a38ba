"""Greedy matching of rows and columns: the best pair first, each row and column at most once.

COCO's matching, which repeats this for many thresholds and ranges of area at once, is evaluation/coco.py.
"""

from __future__ import annotations

import numpy as np

from posetools.core.geometry import Floats, Ints


def first_come(pairs: Ints) -> Ints:
    """Return the (P, 2) pairs, in order, whose row and column are not in an earlier pair."""
    kept, rows, columns = [], set[int](), set[int]()
    for row, column in pairs.tolist():
        if row not in rows and column not in columns:
            kept.append((row, column))
            rows.add(row)
            columns.add(column)
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def best_free(*fits: Floats) -> Ints:
    """Return the (P, 2) pairs of a row and a column: row by row, each takes the free column with the best fit.

    Args:
        fits: (n, m) how well each row fits each column, minus infinity to exclude a pair. With several, the next one
            matches the rows and columns left free. Ties go to the first column.
    """
    found = []
    for fit in fits:
        rows, columns = np.nonzero(fit > -np.inf)
        order = np.lexsort((columns, -fit[rows, columns], rows))
        found.append(np.stack([rows[order], columns[order]], axis=1))
    return first_come(np.concatenate(found))
