"""The files of the repository that are made from code: the JSON Schemas, and the table of finding codes.

``python -m tools.schemas`` rewrites them in the checkout; a test fails when one is stale.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from posetools.core.findings import RULES
from posetools.core.skeleton import Skeleton
from posetools.files.disk import write_text
from posetools.formats.coco.model import CocoFile

CHECKOUT = Path(__file__).resolve().parent.parent

_BASE = "https://json-schema.org/draft/2020-12/schema"
_GROUPS = (
    ("1", "The COCO file and its images", "Reported by `posetools validate` and by `convert --from coco`."),
    ("2", "Plausibility", "Reported by `posetools validate`. Allowed, but rarely intended."),
    ("3", "Reading annotations", "Reported by `posetools convert` and `posetools split`."),
    (
        "4",
        "Plug-ins",
        "Reported by `posetools validate`. A check of another package has codes that begin with its name, such as "
        "`rivets/W1` ([plug-ins](plugins.md)).",
    ),
)
_WAYS = (
    "Every error that stops `posetools convert`. The options are those of [convert](convert.md); the message names the "
    "one that fits, with its value. `--keep-going` writes all images in which every object could be read."
)

# How to continue when reading stops: code -> what to type, a tool, or why the file cannot be read. Options are those
# of `posetools convert`. Readers raise each of these codes, and no other error.
WAYS_ON: dict[str, str] = {
    "E101": "Correct the file; `--box-from keypoints` makes a missing `bbox` from the labeled keypoints.",
    "E102": 'Correct the value. A value in another notation, such as `"8"` for 8, is read.',
    "E103": "Label the object again, or delete it: NaN and infinity are not coordinates.",
    "E104": "Draw the box again, or delete the annotation: the area is at most 1 square pixel, and so is the box.",
    "E105": "Correct the keypoints; the count is made from them.",
    "E106": "Correct the annotation: it is unknown which number belongs to which keypoint.",
    "E107": 'Correct the value; true and false, texts such as `"2"`, and 2.0 are read.',
    "E108": "`--box-from keypoints` makes the box from the labeled keypoints; draw an object without any again.",
    "E109": "Correct the ids; objects and images of different files may have the same ids.",
    "E110": "Add the image to `images`, or delete the annotation.",
    "E111": "Add the category to `categories`, or correct `category_id`.",
    "E113": "`--kpt-order A,B,...` names the keypoints in the order of the file.",
    "E114": "Correct the edges, or delete `skeleton` from the category: then the edges of the skeleton file are used.",
    "E115": "Write 0 for an object, 1 for a crowd; a missing value becomes 0.",
    "E116": "`--map OLD=NEW` if the labels have other names; `--val 0` if only one image has objects.",
    "E121": "`--image-root DIR` adds a folder with the image; rename one of two images that both fit.",
    "E122": "Replace the image, or leave it out of the source: it is damaged or not an image.",
    "E123": "Use the image that was labeled: the labels are of another image or size.",
    "E124": "Rotate the image upright, or remove its EXIF orientation, as the message says; do not change the labels.",
    "E125": "Write the path relative to the source; `--image-root DIR` allows another folder.",
    "E126": "`--val 0.1` splits again: each image is used once.",
    "E127": "`--keypoints-from categories` joins them if each is in one box; else export CVAT for images 1.1.",
    "E301": "`--map OLD=NEW`, `--ignore LABEL`, `--categories LABEL`, `--label-pattern REGEX`, or `--skeleton FILE`.",
    "E302": "Draw it as a rectangle or a point in the labeling tool, or delete it.",
    "E303": "`--one-object-per-image` if every image shows one object; else give box and points the same group.",
    "E304": "Give the points and their box the same group in the labeling tool.",
    "E305": "Delete or relabel one of the points; in a table, name the column that identifies the object.",
    "E306": "`--box-from keypoints` makes the box from the labeled keypoints.",
    "E307": "Give each object its own group; leave out `--one-object-per-image` if an image shows several objects.",
    "E308": "`--image-root DIR` allows another folder.",
    "E309": "Correct the line; `--kpt-shape K,2` or `K,3` if all lines have another number of columns.",
    "E310": "Export or save the file again: it is damaged or from another program.",
    "E311": "Correct the value in the labeling tool; `--keep-going` leaves out the images with such objects.",
    "E313": "Delete or rename one of the two, or pass only one of the files as SRC.",
}


def generated_files() -> dict[str, str]:
    """Return the path in the checkout, and the text, of every file that is made from code."""
    return {
        "schemas/coco_keypoints.schema.json": schema_text(CocoFile, "COCO keypoint file, as posetools reads it"),
        "schemas/skeleton.schema.json": schema_text(Skeleton, "Skeleton file of posetools"),
        "docs/findings.md": findings_page(),
    }


def schema_text(model: type[BaseModel], title: str) -> str:
    """Return the JSON Schema of a model as text."""
    schema = model.model_json_schema()
    return json.dumps({"$schema": _BASE, **schema, "title": title}, indent=2, ensure_ascii=False) + "\n"


def findings_page() -> str:
    """Return the page on finding codes, as Markdown."""
    lines = [
        "<!-- made from posetools/core/findings.py by `make generate` -->",
        "",
        "# Finding codes",
        "",
        "E is an error: training or evaluation fails, or gives wrong results silently. W is a warning: worth a check.",
        "Codes are stable: a code never changes its meaning.",
    ]
    for digit, title, text in _GROUPS:
        lines += ["", f"## {title}", "", text, "", "| code | name | what it means |", "|---|---|---|"]
        for code, rule in sorted(RULES.items()):
            if code[1] == digit:
                lines.append(f"| {code} | {rule.title} | {_cell(rule.why)} |")
    lines += [
        "",
        "## What to do when a file is refused",
        "",
        _WAYS,
        "",
        "| code | what to do |",
        "|---|---|",
    ]
    lines += [f"| {code} | {_cell(way)} |" for code, way in sorted(WAYS_ON.items())]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def main() -> None:
    """Rewrite the files in the checkout."""
    for name, text in generated_files().items():
        write_text(CHECKOUT / name, text)
        print(name)


if __name__ == "__main__":
    main()
