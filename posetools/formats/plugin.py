"""The protocol of a format, a plug-in of the group ``posetools.formats``: labeled images in plain Python values.

posetools does the rest: it finds and opens the images, checks all values, makes missing boxes, applies ``--map``,
``--ignore`` and ``--categories``, and reports what cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

# A file that cannot be read, a line without the declared form, a value that breaks a rule, content that is not
# carried over, a value that was corrected.
ProblemCode = Literal["E309", "E310", "E311", "W323", "W324"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadObject:
    """One object in an image. Coordinates are pixels of the upright image, from its top left corner.

    Attributes:
        category: its label; the user may map it to another name (``--map``).
        box: x1, y1, x2, y2; None if the source has no boxes: ``--box-from keypoints`` then makes one.
        keypoints: the labeled keypoints by name: x, y and visibility, 1 for labeled but not visible, 2 for visible. A
            keypoint that is left out, or has visibility 0, is not labeled.
        place: its place in the file, for messages, such as ``line 4``.
    """

    category: str
    box: tuple[float, float, float, float] | None = None
    keypoints: Mapping[str, tuple[float, float, int]] = field(default_factory=dict)
    place: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadProblem:
    """Something that could not be read: the user sees it as a finding.

    Attributes:
        file: the file.
        message: one sentence: ``<field> must be <rule>, got <value>``.
        place: the place in the file, such as ``line 4``.
        hint: how to fix it.
        code: E310 a file cannot be read, E309 a line cannot, E311 a value breaks a rule, W323 content is not carried
            over, W324 a value was corrected. With an error nothing is written, unless the user adds ``--keep-going``.
    """

    file: Path
    message: str
    place: str = ""
    hint: str = ""
    code: ProblemCode = "E311"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadImage:
    """One image with its objects. An image without objects is a negative example.

    Attributes:
        image: a Path to it, such as ``source / "images" / name``; or the text that names it in ``file``, which is
            relative to the folder of ``file``. It must be in the source, or in a folder that the user names with
            ``--image-root``.
        file: the annotation file.
        objects: its objects.
        problems: what of it could not be read. With an error the whole image is left out: it would be learned without
            the object.
        place: the place in the file that names the image, for messages.
        split: the split that the source declares (``train``, ``val``, ``test``); None: posetools splits.
    """

    image: str | Path
    file: Path
    objects: Sequence[ReadObject] = ()
    problems: Sequence[ReadProblem] = ()
    place: str = ""
    split: str | None = None


Labeled: TypeAlias = ReadImage | ReadProblem
Declares: TypeAlias = Callable[[Path], Mapping[str, Sequence[str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class FormatPlugin:
    """An annotation format. Its name on the command line (``--from NAME``) is that of the entry point.

    Attributes:
        title: as in messages, such as ``KITTI``.
        signs: what ``detect`` looks for, for the message when no format fits: ``label_2/*.txt next to calib/``.
        detect: whether a file or folder is definitely in this format. It is called for every source of every user
            without ``--from``, so it must be fast, open few files, and say no when in doubt.
        read: yields the images of one source, a file or folder, in a fixed order. A file that cannot be read is a
            ReadProblem; the others are still read.
        declares: returns the keypoints' names of each category that ``read`` yields, in order, none for a category
            that has boxes only; None: the names that the objects have. Then a rare label may be refused as a
            misspelling.
        sample: writes a small valid source with at least two images into an empty folder: `make fuzz` damages it.
    """

    title: str
    signs: str
    detect: Callable[[Path], bool]
    read: Callable[[Path], Iterable[Labeled]]
    declares: Declares | None = None
    sample: Callable[[Path], None] | None = None
