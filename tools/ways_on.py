"""What helps where reading stops: the table of docs/findings.md.

By code: what to type, a tool, or why the file cannot be read. Options are those of `posetools convert`. A reader raises
each of these codes, and no other error.
"""

from __future__ import annotations

WAYS_ON: dict[str, str] = {
    "E101": "Correct the file; `--box-from keypoints` makes a missing `bbox` from the labeled keypoints.",
    "E102": 'Correct the value; one that is only written in another way, such as `"8"` for 8, is read.',
    "E103": "Cannot be read, because NaN and infinity are no coordinates: label the object again, or delete it.",
    "E104": "Draw the box again, or delete the annotation: the area is at most 1 square pixel, and so is the box.",
    "E105": "Correct the keypoints, of which the count is made.",
    "E106": "Cannot be read, because it is not known which number belongs to which keypoint: correct the annotation.",
    "E107": 'Correct the value; true and false, texts such as `"2"` and 2.0 are read.',
    "E108": "`--box-from keypoints` makes the box from the labeled keypoints; an object without any: draw it again.",
    "E109": "Correct the ids; objects and images of several files may have the same ones.",
    "E110": "Add the image to `images`, or delete the annotation.",
    "E111": "Add the category to `categories`, or correct `category_id`.",
    "E113": "`--kpt-order A,B,...` names the keypoints in the order of the file.",
    "E114": "Correct the edges, or delete `skeleton` from the category: the edges of the skeleton file are used.",
    "E115": "Write 0 for an object, 1 for a group of objects; a missing one becomes 0.",
    "E116": "`--map OLD=NEW` where the labels have other names; `--val 0` where only one image has objects.",
    "E121": "`--image-root DIR` finds the image in a further folder; rename one of two that fit.",
    "E122": "Cannot be read, because the image is damaged or no image: replace it, or leave it out of the source.",
    "E123": "Cannot be read, because the labels are of another image or size: give the image that was labeled.",
    "E124": "Turn the image upright, or remove its EXIF orientation, as the message says; the labels stay as they are.",
    "E125": "Write the path as seen from the source; `--image-root DIR` allows a further folder.",
    "E126": "`--val 0.1` splits again: each image is used once.",
    "E127": "`--keypoints-from categories` joins them where each is in one box; else export CVAT for images 1.1.",
    "E301": "`--map OLD=NEW`, `--ignore LABEL`, `--categories LABEL`, `--label-pattern REGEX`, or `--skeleton FILE`.",
    "E302": "Draw it as a rectangle or a point in the tool that labeled it, or delete it.",
    "E303": "`--one-object-per-image` where every image shows one object; else give box and points the same group.",
    "E304": "Give the points and their box the same group, in the tool that labeled them.",
    "E305": "Delete or relabel one of the points; in a table, name the column that tells objects apart.",
    "E306": "`--box-from keypoints` makes the box from the labeled keypoints.",
    "E307": "Give each object a group of its own; leave out `--one-object-per-image` where an image shows several.",
    "E308": "`--image-root DIR` allows a further folder.",
    "E309": "Correct the line; `--kpt-shape K,2` or `K,3` where all lines have another number of columns.",
    "E310": "Cannot be read, because the file is damaged or of another program: export or save it again.",
    "E311": "Correct the value in the tool that labeled it; `--keep-going` leaves out the images with such objects.",
    "E313": "Delete or rename one of the two, or give only one of the files as SRC.",
}
