"""A skeleton with other names, or with some of its keypoints in another order: everything in it follows.

Links, left/right pairs, sigmas, weights, colors and the template go by name. Without one of its keypoints a link goes,
and so does the template, which needs all of them. A keypoint whose partner goes has no counterpart in a mirrored image,
which shows it as a keypoint of the other side, so training must not mirror.
"""

from __future__ import annotations

from collections.abc import Mapping

from posetools.core.skeleton import BUILT_IN, Category, Skeleton, Template
from posetools.core.skeleton_draft import Draft, skeleton_name
from posetools.errors import counted, first_names

# Names that a note lists.
_LISTED_POINTS = 10


def edited_skeleton(skeleton: Skeleton, names: Mapping[str, str], category: str) -> Draft:
    """Return a skeleton with some of its keypoints, and notes on what goes with the others.

    Args:
        skeleton: the skeleton.
        names: the keypoints to keep -> their new names, which are unique; in the new order.
        category: the new name of the category.
    """
    if (*names,) == (*names.values(),) == skeleton.names and category == skeleton.category.name:
        return Draft(skeleton, ())
    kept = [skeleton.keypoints[skeleton.index[name]] for name in names]
    alone = [point for point in kept if point.swap is not None and point.swap not in names]
    links = [link for link in skeleton.links if set(link.points) <= set(names)]
    template = skeleton.template and _template(skeleton.template, names)
    document = {
        "name": _name(skeleton, tuple(names.values()), category),
        "category": Category(name=category, id=skeleton.category.id),
        "keypoints": [
            point.model_copy(update={"name": names[point.name], "swap": point.swap and names.get(point.swap)})
            for point in kept
        ],
        "links": [link.model_copy(update={"points": tuple(names[name] for name in link.points)}) for link in links],
        "sigmas": [skeleton.sigmas[skeleton.index[name]] for name in names],
        "joint_weights": [skeleton.joint_weights[skeleton.index[name]] for name in names],
        "flip": False if alone else skeleton.flip,
        "rotation": skeleton.rotation,
        "template": template,
    }
    gone = [name for name in skeleton.names if name not in names]
    notes = [f"{category}: keypoints dropped: {first_names(gone, _LISTED_POINTS)}"] if gone else []
    if len(links) < len(skeleton.links):
        notes.append(f"{category}: {counted(len(skeleton.links) - len(links), 'link')} dropped with them")
    if alone:
        listed = first_names([f"{names[point.name]} (with {point.swap})" for point in alone], _LISTED_POINTS)
        notes.append(f"{category}: left/right pairs dropped: {listed}; training will not mirror images (flip: false)")
    if skeleton.template and not template:
        notes.append(f"{category}: template dropped: it needs all keypoints")
    return Draft(Skeleton.model_validate(document), tuple(notes))


def _name(skeleton: Skeleton, names: tuple[str, ...], category: str) -> str:
    """Return the name: another one if it would no longer be true."""
    built_in = BUILT_IN.get(skeleton.name)
    follows = skeleton.name == skeleton_name(skeleton.category.name)
    return skeleton_name(category) if follows or (built_in and built_in.names != names) else skeleton.name


def _template(template: Template, names: Mapping[str, str]) -> Template | None:
    if any(point.name not in names for point in template.points):
        return None
    points = [
        point.model_copy(
            update={field: names.get(getattr(point, field)) for field in ("name", "opposite", "neighbour")}
        )
        for point in template.points
    ]
    modes = [
        mode.model_copy(
            update={field: tuple(names[name] for name in getattr(mode, field)) for field in ("points", "against")}
        )
        for mode in template.modes
    ]
    return template.model_copy(update={"points": tuple(points), "modes": tuple(modes)})
