"""Convert MMPose's metainfo of a data set back to its skeleton."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posetools.core.skeleton import Skeleton


def names_of(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the K names in the parsed metainfo of a pose data set.

    Raises:
        KeyError: it has none.
    """
    return tuple(name for _, name in sorted(meta["keypoint_id2name"].items()))


def skeleton_of_metainfo(meta: Mapping[str, Any], category: str | None = None) -> Skeleton:
    """Return the skeleton that the parsed metainfo of a pose data set describes.

    Args:
        meta: the result of ``parse_pose_metainfo``, which checkpoints hold as ``dataset_meta``.
        category: the category's name; None: the one that MMPose read from the COCO file.

    Raises:
        KeyError, IndexError, TypeError, ValueError: it is invalid. pydantic's ValidationError is a ValueError.
    """
    names, flips = names_of(meta), meta["flip_indices"]
    colors = meta["keypoint_colors"]
    links = zip(meta["skeleton_links"], meta["skeleton_link_colors"], strict=True)
    return Skeleton.model_validate(
        {
            "name": str(meta["dataset_name"]),
            "category": _category_of(meta) if category is None else {"name": category},
            "keypoints": [
                {"name": name, "swap": names[flip] if names[flip] != name else None, "color": [int(c) for c in color]}
                for name, flip, color in zip(names, flips, colors, strict=True)
            ],
            "links": [
                {"points": [names[end] for end in ends], "color": [int(c) for c in color]} for ends, color in links
            ],
            # Stored as float32, which has seven digits.
            "sigmas": [float(f"{sigma:.7g}") for sigma in meta["sigmas"]],
            "joint_weights": [float(f"{weight:.7g}") for weight in meta["dataset_keypoint_weights"]],
        }
    )


def _category_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    # MMPose keeps the categories of the COCO file under this name.
    first = meta["CLASSES"][0]
    return {"name": first["name"], "id": first["id"]} if isinstance(first, Mapping) else {"name": first}
