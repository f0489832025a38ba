"""The annotation files of one pose estimator, where a data set has several categories.

MMPose reads one skeleton per file, and its evaluation drops predictions of all categories but the file's. So each
skeleton gets COCO files with the objects of its categories, as objects of one category with the id 1. All images stay
in the files: one without such objects has none to train on, and counts in evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posetools.core.categories import Categories
from posetools.core.coco_document import read_document
from posetools.core.folder import SPLITS, ann_file, fold_split
from posetools.files.disk import dump_json, read_text, write_texts


@dataclass(frozen=True, slots=True)
class Annotations:
    """The annotation files of one skeleton.

    Attributes:
        skeleton: its name among ``Categories.posed``.
        categories: the categories that share it.
        folder: the folder of the files, which are named as in a data set.
        fold: the fold whose splits they are made from; None: train and val.
    """

    skeleton: str
    categories: Categories
    folder: Path
    fold: int | None = None

    def texts(self, data_root: Path) -> dict[Path, str]:
        """Return the text of each file, made from the files of a data set.

        Raises:
            InputError: a file of the data set cannot be read.
        """
        sources = {split: ann_file(data_root, fold_split(self.fold, split)) for split in SPLITS}
        return {ann_file(self.folder, split): self._text(source) for split, source in sources.items()}

    def update(self, data_root: Path) -> bool:
        """Write the files that the data set has changed, and return whether there were any.

        Raises:
            InputError: a file of the data set cannot be read.
            OutputError: a file cannot be written.
        """
        texts = self.texts(data_root)
        changed = {path: text for path, text in texts.items() if not path.is_file() or read_text(path) != text}
        write_texts(changed)
        return bool(changed)

    def _text(self, path: Path) -> str:
        own = read_document(path).of_categories(self.categories.ids)
        first = next(iter(own.objects("categories")))
        objects = [{**one, "category_id": 1} for one in own.objects("annotations")]
        return dump_json({**own.content, "annotations": objects, "categories": [{**first, "id": 1}]})
