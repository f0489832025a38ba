"""From what MMPose keeps of a data set back to the skeleton that it was made from."""

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
        meta: what ``parse_pose_metainfo`` gives, and checkpoints hold as ``dataset_meta``.
        category: the category's name; None: the one that MMPose took from the COCO file.

    Raises:
        KeyError, IndexError, TypeError, ValueError: it describes none. pydantic's ValidationError is a ValueError.
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
            # They were rounded to float32, which has seven digits.
            "sigmas": [float(f"{sigma:.7g}") for sigma in meta["sigmas"]],
            "joint_weights": [float(f"{weight:.7g}") for weight in meta["dataset_keypoint_weights"]],
        }
    )


def _category_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    # MMPose keeps the categories of the COCO file under this name.
    first = meta["CLASSES"][0]
    return {"name": first["name"], "id": first["id"]} if isinstance(first, Mapping) else {"name": first}
