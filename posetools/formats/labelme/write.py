"""One labelme file as a document: of labeled objects, or of predicted ones for a human to correct.

A rectangle and its points per object, joined by ``group_id`` (0, 1, ...); the flag ``occluded`` on occluded points;
``imageData`` null; the image is next to the file.

A file that a model wrote has a mark, which separates unreviewed predictions from a person's labels.

labelme keeps top-level keys that it does not know, so the mark stays in a file that a person saves. The digest in it
shows a save: it covers the whole text, which any save changes, even one that changes no shape, because labelme writes
its own version and no newline at the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from posetools.core.dataset import Visibility
from posetools.core.geometry import Bools, Floats
from posetools.core.skeleton import Skeleton
from posetools.files.disk import digest_of

LABELME_VERSION = "5.4.1"
HIDDEN_FLAG = "occluded"

# Predictions are written to this many digits of a pixel.
_PIXEL_DECIMALS = 6


class LabelmeObject(NamedTuple):
    """One object as it is drawn.

    Attributes:
        skeleton: of its category.
        box: x1, y1, x2, y2 in pixels.
        keypoints: K triples x, y, visibility; unlabeled keypoints are not drawn.
        description: of the rectangle.
        descriptions: of the points, K of them or none.
    """

    skeleton: Skeleton
    box: Sequence[float]
    keypoints: Sequence[Sequence[float]]
    description: str = ""
    descriptions: Sequence[str] = ()


def labelme_document(file_name: str, size: tuple[int, int], objects: Sequence[LabelmeObject]) -> dict[str, Any]:
    """Return the content of the labelme file of one image.

    Args:
        file_name: the image's; its last part is written, as the file is next to it.
        size: (width, height) of the upright image in pixels.
        objects: what is in the image; none for an image without objects.
    """
    shapes = []
    for group, one in enumerate(objects):
        x1, y1, x2, y2 = one.box
        corners, skeleton = [[x1, y1], [x2, y2]], one.skeleton
        shapes.append(_shape(skeleton.category.name, "rectangle", corners, group, one.description, hidden=False))
        texts = one.descriptions or [""] * skeleton.num_keypoints
        for name, (x, y, visibility), text in zip(skeleton.names, one.keypoints, texts, strict=True):
            if visibility != Visibility.NOT_LABELED:
                hidden = visibility == Visibility.HIDDEN
                shapes.append(_shape(name, "point", [[x, y]], group, text, hidden=hidden))
    width, height = size
    return {
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": PurePosixPath(file_name).name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def predicted_objects(
    boxes: Floats, scores: Floats, keypoints: Floats, keypoint_scores: Floats, *, skeleton: Skeleton, kpt_thr: float
) -> list[LabelmeObject]:
    """Return N predicted objects as drawn for correction: all points, unsure ones marked as occluded.

    Every shape's description is its score (``score 0.93``). An object whose box has no width or height is left out:
    labelme cannot store such a rectangle (``flat_boxes`` counts them).

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        scores: (N,) of the boxes.
        keypoints: (N, K, 2) x, y in pixels.
        keypoint_scores: (N, K).
        skeleton: of their category.
        kpt_thr: a point with a lower score gets the flag ``occluded``.
    """
    visibility = np.where(keypoint_scores < kpt_thr, Visibility.HIDDEN, Visibility.VISIBLE)
    rows = zip(
        boxes.round(_PIXEL_DECIMALS).tolist(),
        scores.tolist(),
        keypoints.round(_PIXEL_DECIMALS).tolist(),
        visibility.tolist(),
        keypoint_scores.tolist(),
        flat_boxes(boxes).tolist(),
        strict=True,
    )
    return [
        LabelmeObject(
            skeleton,
            box,
            [(x, y, v) for (x, y), v in zip(points, shown, strict=True)],
            _said(score),
            [_said(one) for one in point_scores],
        )
        for box, score, points, shown, point_scores, flat in rows
        if not flat
    ]


def flat_boxes(boxes: Floats) -> Bools:
    """Return for each of (N, 4) boxes whether labelme cannot store it, because it has no width or height: (N,)."""
    corners = boxes.round(_PIXEL_DECIMALS)
    flat: Bools = (corners[:, 2:] <= corners[:, :2]).any(axis=1)
    return flat


def labelme_text(document: Mapping[str, Any]) -> str:
    """Return a document as the text of a labelme file.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _said(score: float) -> str:
    return f"score {score:.2f}"


def _shape(
    label: str, kind: str, points: list[list[float]], group: int, description: str, *, hidden: bool
) -> dict[str, Any]:
    return {
        "label": label,
        "points": points,
        "group_id": group,
        "description": description,
        "shape_type": kind,
        "flags": {HIDDEN_FLAG: True} if hidden else {},
        "mask": None,
    }


MARK = "posetools"
# The keys that labelme and posetools write; every other key is the user's.
OWN_KEYS = frozenset({"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth", MARK})

_DIGEST = "digest"


def marked_text(document: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return a document as the text of a labelme file that carries the mark.

    Args:
        document: the document, without a mark.
        facts: what the mark holds next to the digest.

    Raises:
        ValueError: it holds a number that is not finite.
    """

    def text(digest: str) -> str:
        return labelme_text({**document, MARK: {**facts, _DIGEST: digest}})

    return text(digest_of(text("").encode()))


def is_untouched(data: bytes) -> bool:
    """Return whether this content is as a model wrote it, not saved since."""
    if f'"{MARK}"'.encode() not in data:
        return False
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    mark = document.get(MARK) if isinstance(document, dict) else None
    digest = mark.get(_DIGEST) if isinstance(mark, dict) else None
    if not isinstance(digest, str) or not digest:
        return False
    return digest_of(_blank(data, digest)) == digest


def _blank(data: bytes, digest: str) -> bytes:
    # The last digest is the mark's: labelme_text keeps the key order, and the mark comes last.
    head, _, tail = data.rpartition(json.dumps(digest, ensure_ascii=False).encode())
    return head + b'""' + tail
