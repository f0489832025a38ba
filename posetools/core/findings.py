"""Findings of checks and readers: data with stable codes, printed elsewhere.

A code is a letter for the severity (E error, W warning), three digits, never reused. 1xx: the COCO file and its
images. 2xx: plausibility. 3xx: reading annotations of another format. 4xx: plug-ins. docs/findings.md is generated from
this table. The code of a check of another package begins with the check's name, which only one check has:
``rivets/W1``.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

from posetools.core.place import Origin
from posetools.errors import said_once, show_value
from posetools.plugins.registry import Loaded, Plugin

# The code of a check of another package, without the check's name.
_SHORT = re.compile(r"[EW][0-9]{1,4}")


class Severity(StrEnum):
    """How severe a finding is: an error breaks training or evaluation, a warning is worth a look."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Rule:
    """An entry of the table of codes: its short name, and the consequence."""

    title: str
    why: str


RULES: dict[str, Rule] = {
    # The COCO file.
    "E101": Rule("missing-field", "Training or evaluation stops with a KeyError, or silently drops the object."),
    "E102": Rule("wrong-type", "A field has a different type than COCO readers expect."),
    "E103": Rule("not-finite", "NaN or infinity in one label turns the loss, and then the model, into NaN."),
    "E104": Rule(
        "area",
        "OKS divides by area: with an area of 0 or 1, AP is 0 for predictions that are one pixel off, and "
        "AP(M) = AP(L) = -1; without an area, evaluation stops with KeyError: 'area'.",
    ),
    "E105": Rule("num-keypoints", "COCO evaluation ignores objects by num_keypoints; a wrong count changes AP."),
    "E106": Rule("keypoints-length", "K keypoints are 3K numbers; anything else fails to reshape during training."),
    "E107": Rule("visibility", "Visibility is 0 (not labeled), 1 (labeled but not visible) or 2 (visible)."),
    "E108": Rule("bbox-size", "MMDet and MMPose silently drop boxes without width or height."),
    "E109": Rule("duplicate-id", "COCO readers keep only one of several entries with the same id."),
    "E110": Rule("unknown-image", "An annotation of an image that is not listed is never used."),
    "E111": Rule("category", "MMPose drops detections with category_id != 1, and 0-based ids shift classes."),
    "E112": Rule("category-differs", "Train and val have different categories: AP is 0."),
    "E113": Rule(
        "category-keypoints", "The file's keypoints differ from the skeleton's: points are learned as other points."
    ),
    "E114": Rule("skeleton-edges", "COCO edges are 1-based; 0-based edges draw wrong lines or fail."),
    "E115": Rule("iscrowd", "MMDet and pycocotools require iscrowd."),
    "E116": Rule("empty-split", "A split without images or objects cannot be used for training or evaluation."),
    "E117": Rule("annotation-id", "pycocotools counts a match with annotation id 0 as no match: AP is too low."),
    "E118": Rule("folds-differ", "Models trained on such folds learn old labels, or are evaluated on training data."),
    # The images.
    "E121": Rule("picture-missing", "Training stops when the data loader reaches it."),
    "E122": Rule(
        "picture-unreadable",
        "Training stops when the data loader reaches it: damaged, truncated, or in a format that OpenCV cannot decode.",
    ),
    "E123": Rule("size-mismatch", "Width and height differ from the file's: boxes and points are in the wrong place."),
    "E124": Rule("exif-rotation", "The annotation uses another orientation than OpenCV, and so training."),
    "E125": Rule("file-name", "The name points outside the image folder."),
    "E126": Rule("duplicate-across-splits", "The same image is in train and val: the evaluation uses training data."),
    "E127": Rule(
        "keypoints-as-objects",
        "Keypoints were exported as objects with a category each: the file does not say which object they belong to.",
    ),
    # The skeleton and the configs.
    "E131": Rule("sigmas-length", "MMPose accepts any number of sigmas, and the metrics are meaningless."),
    "E132": Rule("swap", "With a one-sided swap, random flips teach left as right."),
    "E133": Rule("config-classes", "Classes given as a string, or missing in the JSON, filter out every image."),
    # Plausibility.
    "W201": Rule("bbox-outside", "The box extends beyond the image."),
    "W202": Rule("point-outside-box", "A labeled point is outside its box by more than a margin."),
    "W203": Rule(
        "unlabelled-with-coordinates", "Visibility 0 with coordinates: the point is ignored, perhaps by mistake."
    ),
    "W204": Rule("labelled-at-origin", "A labeled point at (0, 0): usually a missing point with the wrong visibility."),
    "W205": Rule("duplicate-box", "Two boxes of one image overlap by more than 0.95: the object is labeled twice."),
    "W206": Rule("duplicate-picture", "Two images have the same content."),
    "W208": Rule(
        "no-hidden-points", "Only visibility 0 and 2 in the data set: occluded points may have been left out."
    ),
    "W209": Rule("rare-point", "A keypoint that is never or rarely labeled is not learned."),
    "W210": Rule("no-annotation", "Images without objects: negatives for RTMDet, unused by RTMPose."),
    "W211": Rule("few-iterations", "An epoch has too few iterations for the default schedule."),
    "W212": Rule("one-size-class", "All boxes are in one COCO size class: AP of the other two is undefined."),
    "W213": Rule(
        "keypoints-as-categories", "Keypoints were exported as objects: one category per point, with tiny boxes."
    ),
    "W214": Rule("tiny-box", "MMDet silently drops boxes smaller than 1 pixel in width or height."),
    "W215": Rule("mirrored", "Left and right, or front and rear, are swapped: the model learns them swapped."),
    "W216": Rule("front-rear-exchanged", "Two points have each other's names, with front and rear swapped."),
    "W217": Rule("misplaced-point", "A point is far from its position given the other points of the rigid object."),
    "W218": Rule("impossible-faces", "Points are marked visible that no camera position can see together."),
    "W219": Rule("tire-above-bumper", "Neighbors have each other's names: a tire is where its bumper must be."),
    "W220": Rule("near-duplicate", "Two images of different clips look the same: the second adds little."),
    "W221": Rule(
        "near-duplicate-across-splits",
        "An image looks like one of another split: the evaluation partly uses training data.",
    ),
    "W222": Rule("mirrored-in-its-set", "Left and right are swapped compared to other objects in the data set."),
    "W223": Rule(
        "copies-across-splits",
        "Copies of one photo, augmented or not, are in two splits: the evaluation uses training data.",
    ),
    # Reading other formats.
    "E301": Rule("unknown-label", "A label is neither the category nor a keypoint of the skeleton."),
    "E302": Rule("unsupported-shape", "A shape is neither a box nor a point."),
    "E303": Rule("point-without-object", "A point belongs to no box."),
    "E304": Rule("ambiguous-point", "A point could belong to several objects."),
    "E305": Rule("duplicate-point", "An object has a keypoint twice."),
    "E306": Rule("object-without-box", "Points with a group but no rectangle."),
    "E307": Rule("several-boxes", "Two rectangles with the same group."),
    "E308": Rule("picture-outside", "The image is outside the source folder."),
    "E309": Rule("bad-line", "A line does not have the declared format."),
    "E310": Rule("unreadable-file", "An annotation file cannot be read."),
    "E311": Rule("bad-value", "A value breaks the format's rules."),
    "E312": Rule("lossy", "The target format cannot store some of the data."),
    "E313": Rule("duplicate-annotation", "Two annotation files of one image, or two images of one file."),
    "W321": Rule("no-group", "Points in several boxes were assigned to the only possible box."),
    "W322": Rule("no-annotation-file", "An image without an annotation file: unlabeled or without objects."),
    "W323": Rule("not-carried", "The source has data that posetools does not write to COCO keypoints."),
    "W324": Rule("repaired", "A value with only one possible correction was corrected while reading."),
    "W325": Rule("unsaved-prediction", "Unchecked predictions are used as labels: a model learns from itself."),
    "W326": Rule(
        "orientation-ignored",
        "The image has an orientation that OpenCV ignores: labels from a program that rotates it are misplaced.",
    ),
    "W327": Rule(
        "just-outside", "Points just outside a box were assigned to it: no other box is as close and lacks them."
    ),
    "W328": Rule("lost-by-mapping", "A label has a visibility or an object number that its --map drops."),
    "W330": Rule("box-of-no-group", "Points of a group without a box were assigned to the only free box around them."),
    "W331": Rule("keypoints-joined", "Keypoints that were objects with a category each were assigned to the boxes."),
    "W332": Rule(
        "found-by-name", "An image with the right name in a folder with another name may be a different image."
    ),
    "W333": Rule(
        "box-from-one-point",
        "One labeled point, or points on one line, span no box: the box has an arbitrary size.",
    ),
    "W334": Rule(
        "twin-not-compared",
        "A second file has labels of the same images and could not be compared, so it was not read.",
    ),
    "W336": Rule("declaration-overruled", "A declaration in data.yaml is wrong or missing and was not used."),
    "W337": Rule("label-without-image", "A label file without an image was left out."),
    # Plug-ins.
    "W401": Rule("check-failed", "A check of another package cannot be used, or failed: its findings are missing."),
}


def _rules_of(plugin: Plugin, found: Any) -> Mapping[str, Rule]:
    """Return the rules of a check of another package, by their codes with its name."""
    rules = {} if plugin.own else found.rules
    for code, rule in rules.items():
        if not (isinstance(code, str) and _SHORT.fullmatch(code) and isinstance(rule, Rule)):
            raise plugin.error(f"must have rules by codes such as 'E1' and 'W1', got {show_value(code)}")
        if not (isinstance(rule.title, str) and isinstance(rule.why, str)):
            raise plugin.error(f"must have texts in its rules, got {show_value(rule)}")
    return {f"{plugin.name}/{code}": rule for code, rule in rules.items()}


RULES_OF_CHECKS: Loaded[Mapping[str, Rule]] = Loaded("checks", _rules_of)


def rule_of(code: str) -> Rule | None:
    """Return the rule of a code: posetools', or that of a check of another package; None for an unknown code."""
    name, slash, _ = code.partition("/")
    return RULES.get(code) if not slash else RULES_OF_CHECKS.get(name, {}).get(code)


def title_of(code: str) -> str:
    """Return the short name of a known code's rule."""
    rule = rule_of(code)
    return rule.title if rule else code


def severity_of(code: str) -> Severity:
    """Return error or warning, by the letter of the code."""
    return Severity.ERROR if code.rpartition("/")[2].startswith("E") else Severity.WARNING


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        code: a known one (``rule_of``).
        file: the file, as the user would name it.
        place: the place in that file (``line 4``), or empty; a Place for an entry of a COCO file, a nested place, or
            several places.
        message: one sentence: ``<field> must be <rule>, got <value>``.
        hint: how to fix it, or empty.
        fixable: whether ``validate --fix`` can fix it.
        details: more lines of the message, for one finding with many places.
        other: the second image, for findings about two images.
        keypoints: the names of its keypoints. Findings are equal if their other fields are.
    """

    code: str
    file: str
    place: str
    message: str
    hint: str = ""
    fixable: bool = False
    details: tuple[str, ...] = ()
    other: Origin | None = field(default=None, compare=False)
    keypoints: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.code not in RULES and rule_of(self.code) is None:
            raise ValueError(f"code must be one of RULES or of a check's rules, got {self.code!r}")

    @property
    def severity(self) -> Severity:
        """Error or warning, by the letter of the code."""
        return severity_of(self.code)

    @property
    def rule(self) -> Rule:
        """The entry of its code in the table."""
        return rule_of(self.code) or Rule(self.code, "")

    @property
    def title(self) -> str:
        """The rule's short name."""
        return self.rule.title

    @property
    def where(self) -> str:
        """File and place as one text, without the part that the message repeats."""
        place = said_once(self.place, self.message)
        return f"{self.file}: {place}" if place else self.file

    def as_dict(self) -> dict[str, str | bool]:
        """Return the JSON form, with forward slashes in the file on every system."""
        return {
            "code": self.code,
            "title": self.title,
            "severity": str(self.severity),
            "file": self.file.replace(os.sep, "/"),
            "place": str(self.place),
            "message": ": ".join([self.message, *(["; ".join(self.details)] if self.details else [])]),
            "hint": self.hint,
            "fixable": self.fixable,
        }


_NUMBER_IN_TEXT = re.compile(r"\d+")
# Longer digit strings in a name are not numbers; they sort as text, before numbers.
_MOST_DIGITS = 18


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings by file, then place (numbers by value), then code."""
    of_file = cache(_natural)
    return tuple(sorted(findings, key=lambda one: (of_file(one.file), _natural(one.place), one.code, one.message)))


def count_by_code(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each code, by code."""
    return dict(sorted(Counter(finding.code for finding in findings).items()))


def has_errors(findings: Sequence[Finding]) -> bool:
    """Return whether any finding is an error."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def _natural(text: str) -> str:
    """Return what sorts as ``text`` does when its numbers count by value: there may be millions of findings."""
    return _NUMBER_IN_TEXT.sub(_padded, text)


def _padded(number: re.Match[str]) -> str:
    # The letters around a number end where it begins; a NUL sorts before all that could stand in its place.
    digits = number[0]
    return f"\0{int(digits):0{_MOST_DIGITS}}" if len(digits) <= _MOST_DIGITS else f"\0\1{digits}\0"
