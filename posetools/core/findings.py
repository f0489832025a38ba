"""What checks and readers find: data with stable codes, printed elsewhere.

A code is a letter for the severity (E error, W warning), three digits, never reused. 1xx: the COCO file and its
images. 2xx: plausibility. 3xx: reading annotations of another format. docs/findings.md is generated from this table.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

from posetools.core.place import Origin
from posetools.errors import said_once


class Severity(StrEnum):
    """How bad a finding is: an error spoils training or evaluation, a warning is worth a look."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the table of codes: its short name, and what breaks when it is broken."""

    title: str
    why: str


RULES: dict[str, Rule] = {
    # The COCO file.
    "E101": Rule("missing-field", "Training or evaluation stops with a KeyError, or drops the object without a word."),
    "E102": Rule("wrong-type", "A field holds another type than COCO's readers expect."),
    "E103": Rule("not-finite", "NaN or infinity in one label turns the loss, and with it the model, into NaN."),
    "E104": Rule(
        "area",
        "OKS divides by area: with an area of 0 or 1, AP is 0 for predictions that are a pixel off, and "
        "AP(M) = AP(L) = -1 for all; without one, evaluation stops with KeyError: 'area'.",
    ),
    "E105": Rule("num-keypoints", "COCO's evaluation ignores objects by num_keypoints; a wrong count moves AP."),
    "E106": Rule("keypoints-length", "K keypoints are 3K numbers; anything else fails to reshape while training."),
    "E107": Rule("visibility", "Visibility is 0 (not labeled), 1 (labeled but hidden) or 2 (visible)."),
    "E108": Rule("bbox-size", "Boxes without width or height are dropped by MMDet and MMPose without a word."),
    "E109": Rule("duplicate-id", "COCO's readers keep one of several entries with the same id."),
    "E110": Rule("unknown-image", "An annotation of an image that is not listed is never seen."),
    "E111": Rule("category", "MMPose drops category_id != 1 of detections, and 0-based ids shift classes."),
    "E112": Rule("category-differs", "Train and val disagree about the categories: AP is 0."),
    "E113": Rule("category-keypoints", "The file's keypoints are not the skeleton's: points are learned as others."),
    "E114": Rule("skeleton-edges", "COCO's edges are 1-based; 0-based ones draw the wrong lines or fail."),
    "E115": Rule("iscrowd", "MMDet and pycocotools read iscrowd without asking whether it is there."),
    "E116": Rule("empty-split", "A split without images or objects cannot be trained on or evaluated."),
    "E117": Rule("annotation-id", "pycocotools takes a match with annotation id 0 for no match: AP falls."),
    # The images.
    "E121": Rule("picture-missing", "Training stops when the data loader reaches it."),
    "E122": Rule(
        "picture-unreadable",
        "Training stops when the data loader reaches it: damaged, truncated, or of a kind that OpenCV does not decode.",
    ),
    "E123": Rule("size-mismatch", "Width and height differ from the file's: boxes and points lie elsewhere."),
    "E124": Rule(
        "exif-rotation", "The annotation was made in another frame than the one that OpenCV, and so training, sees."
    ),
    "E125": Rule("file-name", "The name leads out of the image folder."),
    "E126": Rule("duplicate-across-splits", "The same image in train and val: the evaluation is of training data."),
    "E127": Rule(
        "keypoints-as-objects",
        "Keypoints exported as objects of a category each: which object they belong to is not in the file.",
    ),
    # The skeleton and the configs.
    "E131": Rule("sigmas-length", "MMPose accepts sigmas of any length and evaluates nonsense."),
    "E132": Rule("swap", "A one-sided swap makes random flips teach left for right."),
    "E133": Rule("config-classes", "Classes given as a string, or not in the JSON, filter every image away."),
    # Plausibility.
    "W201": Rule("bbox-outside", "The box leaves the image."),
    "W202": Rule("point-outside-box", "A labeled point lies outside its box by more than a margin."),
    "W203": Rule("unlabelled-with-coordinates", "Visibility 0 with coordinates: the point is ignored; was it meant?"),
    "W204": Rule("labelled-at-origin", "A labeled point at (0, 0): usually a missing one with the wrong visibility."),
    "W205": Rule("duplicate-box", "Two boxes of one image overlap by more than 0.95: the object is labeled twice."),
    "W206": Rule("duplicate-picture", "Two images have the same content."),
    "W208": Rule("no-hidden-points", "Only visibility 0 and 2 in the whole set: were hidden points left out?"),
    "W209": Rule("rare-point", "A keypoint that is never or rarely labeled will not be learned."),
    "W210": Rule("no-annotation", "Images without objects: negatives for RTMDet, unused by RTMPose."),
    "W211": Rule("few-iterations", "An epoch has too few iterations for the stock schedule."),
    "W212": Rule("one-size-class", "All boxes are in one COCO size class: AP of the other two is not defined."),
    "W213": Rule(
        "keypoints-as-categories", "Keypoints were exported as objects: as many categories as points, tiny boxes."
    ),
    "W214": Rule("tiny-box", "MMDet drops boxes narrower or lower than 1 pixel without a word."),
    "W215": Rule("mirrored", "Left and right are exchanged, or front and rear: the model learns one for the other."),
    "W216": Rule("front-rear-exchanged", "Two points bear each other's names, front and rear exchanged."),
    "W217": Rule("misplaced-point", "A point is far from where the object's other points, being rigid, put it."),
    "W218": Rule("impossible-faces", "Points are marked visible that cannot be seen together from anywhere."),
    "W219": Rule("tire-above-bumper", "Neighbors bear each other's names: a tire lies where its bumper must be."),
    "W220": Rule("near-duplicate", "Two images of different clips look the same: little is learned from the second."),
    "W221": Rule(
        "near-duplicate-across-splits",
        "An image that looks like one of another split: the evaluation is, in part, of training data.",
    ),
    "W222": Rule("mirrored-in-its-set", "Left and right lie the other way round than in the set's other objects."),
    "W223": Rule(
        "copies-across-splits",
        "Copies of one photo, augmented or not, in two splits: what is evaluated was trained on.",
    ),
    # Reading other formats.
    "E301": Rule("unknown-label", "A label that is neither the category nor a keypoint of the skeleton."),
    "E302": Rule("unsupported-shape", "A shape that is neither a box nor a point."),
    "E303": Rule("point-without-object", "A point that belongs to no box."),
    "E304": Rule("ambiguous-point", "A point that could belong to several objects."),
    "E305": Rule("duplicate-point", "A keypoint that an object has twice."),
    "E306": Rule("object-without-box", "Points with a group but no rectangle."),
    "E307": Rule("several-boxes", "Two rectangles with the same group."),
    "E308": Rule("picture-outside", "The image lies outside the source folder."),
    "E309": Rule("bad-line", "A line that does not have the declared form."),
    "E310": Rule("unreadable-file", "An annotation file that cannot be read."),
    "E311": Rule("bad-value", "A value that breaks the format's rules."),
    "E312": Rule("lossy", "The target format cannot hold what is there."),
    "E313": Rule("duplicate-annotation", "Two annotation files of one image, or two images of one file."),
    "W321": Rule("no-group", "Points in several boxes were given to the only ones that can own them."),
    "W322": Rule("no-annotation-file", "An image without an annotation file: not labeled yet, or without objects."),
    "W323": Rule("not-carried", "Something in the source that COCO keypoints written by posetools do not hold."),
    "W324": Rule("repaired", "A value that has one right answer was put right while reading."),
    "W325": Rule(
        "unsaved-prediction", "Predictions nobody has looked at are taken for labels: a model learns of itself."
    ),
    "W326": Rule(
        "orientation-ignored",
        "The image states an orientation that OpenCV ignores: labels drawn in a program that turns it lie elsewhere.",
    ),
    "W327": Rule("just-outside", "Points just outside a box were given to it: no other one is so near and lacks them."),
    "W328": Rule("lost-by-mapping", "A label says a visibility or an object's number that its --map loses."),
    "W330": Rule("box-of-no-group", "Points of a group without a box were joined with the only free box around them."),
    "W331": Rule("keypoints-joined", "Keypoints that were objects of a category each were joined to the boxes."),
    "W332": Rule("found-by-name", "An image of the right name in a folder of another name may be another image."),
    "W333": Rule(
        "box-from-one-point",
        "One labeled point, or points on one line, span no box: it has a size that nobody labeled.",
    ),
    "W334": Rule(
        "twin-not-compared", "A second file holds the labels of the same images, and could not be compared: not read."
    ),
    "W336": Rule("declaration-overruled", "What data.yaml declares is wrong or not there, and was not used."),
    "W337": Rule("label-without-image", "A label file of no image was left out."),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    Attributes:
        code: a key of RULES.
        file: the file it is in, as the user named or would name it.
        place: the place in that file (``line 4``), or empty; a Place where it is an entry of a COCO file, in another
            place, or several.
        message: one sentence: ``<field> must be <rule>, got <value>``.
        hint: what to do, or empty.
        fixable: whether ``validate --fix`` has one right answer for it.
        details: what belongs to the message, as lines of a list; for one finding of many places.
        other: the second of the two images that it is about, where it is about two.
        keypoints: the names of those that it is about. Two findings are equal when they say the same.
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
        if self.code not in RULES:
            raise ValueError(f"code must be one of RULES, got {self.code!r}")

    @property
    def severity(self) -> Severity:
        """Error or warning, by the code's letter."""
        return Severity.ERROR if self.code.startswith("E") else Severity.WARNING

    @property
    def title(self) -> str:
        """The rule's short name."""
        return RULES[self.code].title

    @property
    def where(self) -> str:
        """File and place, as one text; without what the message begins with."""
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
# A number in a name that is longer is no number that anybody counts with; it sorts as text, before the others.
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
