"""A data set on disk: ``images/``, ``train_coco.json``, ``val_coco.json``, ``skeleton.yaml``, ``conversion.json``.

posetools writes the last two: the skeleton, of which a COCO file has only the names and the links, and what was done.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from posetools.core.categories import Categories, categories_in, load_categories, read_categories
from posetools.core.coco_document import links_of, read_document
from posetools.core.made_skeleton import made_skeleton
from posetools.core.skeleton import (
    BUILT_IN,
    Skeleton,
    new_command,
    new_file,
)
from posetools.errors import InputError, RequestError, must_be, quoted
from posetools.files.disk import check_free, is_empty, is_zip_name, read_bytes, read_json, zip_at
from posetools.files.urls import is_url

SPLITS = ("train", "val")
TEST = "test"
# Names of folders and files of a split. Not "dev", which is val in some fields only.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# The word is the whole name except for a year and COCO's test-dev2017: trains/ and test3/ are no splits.
_SPLIT_FOLDER = re.compile(rf"(?:({'|'.join(SPLIT_WORDS)})|test[-_]?dev)(?:[-_]?(?:19|20)\d\d)?")
IMAGES = "images"
# The folds of a cross-validation, a train and a val split each: folds/1/train_coco.json, folds/1/val_coco.json, ...
FOLDS = "folds"
CONVERSION = "conversion.json"
SKELETON_FILE = "skeleton.yaml"
# In the folder while `split` or `validate --fix` replaces its files (posetools/core/journal.py).
SPLIT_JOURNAL = ".split-journal"


def split_folder(name: str) -> str | None:
    """Return the split named by a folder (``train``, ``Valid``, ``test2017``); None for other names."""
    found = _SPLIT_FOLDER.fullmatch(name.lower())
    return SPLIT_WORDS[found[1] or "test"] if found else None


def ann_file(data_root: Path, split: str) -> Path:
    """Return the COCO file of a split."""
    return data_root / f"{split}_coco.json"


def fold_split(fold: int | None, split: str) -> str:
    """Return the name of a fold's split: ``folds/1/val`` is in ``folds/1/val_coco.json``; None: that of no fold."""
    return split if fold is None else f"{FOLDS}/{fold}/{split}"


def fold_folder(parent: Path, fold: int | None) -> Path:
    """Return the folder of a fold's configs or runs, ``fold-1`` in that of no fold (None)."""
    return parent if fold is None else parent / f"fold-{fold}"


def folds_of(data_root: Path) -> tuple[int, ...]:
    """Return the numbers of the folds in a data set, in order; nothing without folds."""
    folders = (data_root / FOLDS).glob("*/train_coco.json")
    return tuple(sorted(int(path.parent.name) for path in folders if path.parent.name.isdecimal()))


def folds_command(data_root: Path, of: Path | None = None) -> str:
    """Return the command that writes the folds of a data set again, with the same options; or those of another one."""
    source = of or data_root
    options = recorded(source / FOLDS, "options")
    words = [f"posetools split {quoted(data_root)} --folds {options.get('folds', len(folds_of(source)))}"]
    words += [
        f"--{name.replace('_', '-')} {quoted(options[name])}"
        for name in ("seed", "split_by", "stratify")
        if options.get(name)
    ]
    return " ".join(words)


def is_data_set(folder: Path) -> bool:
    """Return whether a folder has the COCO file of a split."""
    return any(folder.glob("*_coco.json"))


def split_command(data_root: Path) -> str:
    """Return the command that makes train and val from a data set with only one of them."""
    return f"posetools split {quoted(data_root)} --val 0.1"


def need_folds(data_root: Path) -> tuple[int, ...]:
    """Return the numbers of the folds in a data set.

    Raises:
        RequestError: it is not a data set, or has no folds.
    """
    splits_of(data_root)
    folds = folds_of(data_root)
    if not folds:
        way = f"`posetools split {quoted(data_root)} --folds 5` makes them"
        raise RequestError(f"{data_root}: has no folds", hint=way)
    return folds


def fold_mark(data_root: Path, fold: int) -> str:
    """Return a hash of the names of a fold's val images: it differs after the images were divided differently.

    Raises:
        InputError: the fold's file cannot be read.
    """
    images = read_document(ann_file(data_root, fold_split(fold, "val"))).objects("images")
    names = "\n".join(sorted(str(entry.get("file_name")) for entry in images))
    return hashlib.blake2b(names.encode(), digest_size=6).hexdigest()


def check_both(data_root: Path, fold: int | None = None) -> None:
    """Refuse a data set folder without train or val, which training needs, or without the fold to train.

    Raises:
        RequestError: it lacks one.
    """
    refuse_zip(data_root)
    if fold is not None:
        folds = need_folds(data_root)
        if fold not in folds:
            raise RequestError(must_be("fold", f"one of {data_root}: {', '.join(map(str, folds))}", fold))
        return
    there = [split for split in SPLITS if ann_file(data_root, split).is_file()]
    for split in SPLITS:
        if split not in there:
            raise RequestError(
                f"{ann_file(data_root, split)}: must exist: training needs a train and a val split",
                hint=f"`{split_command(data_root)}` makes both" if there else "`posetools convert` writes both",
            )


def recorded(data_root: Path, section: str) -> Mapping[str, Any]:
    """Return a section of conversion.json; empty if it does not have one, or cannot be read."""
    record = data_root / CONVERSION
    try:
        document = read_json(record) if record.is_file() else None
    except InputError:
        return {}
    found = document.get(section) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def splits_written(data_root: Path) -> frozenset[str] | None:
    """Return the splits in conversion.json; None if it has none."""
    return frozenset(recorded(data_root, "splits")) or None


def is_record(path: Path) -> bool:
    """Return whether a file is a conversion.json, which begins with the key ``posetools``.

    Raises:
        InputError: it is called so, and cannot be read.
    """
    return path.name == CONVERSION and read_bytes(path).startswith(b'{\n"posetools"')


def refuse_zip(path: Path, *, images: bool = False) -> None:
    """Refuse a zip file, or a path in one, in place of a data set: only convert reads zips.

    Args:
        path: the user's path.
        images: whether a folder of images is enough; then the hint is to unpack the zip.

    Raises:
        RequestError: it is one.
    """
    file = zip_at(path)
    if file is None:
        return
    way = "unpack it and give the folder" if images else f"`{_convert_to(file)}` makes a data set of it"
    raise RequestError(f"{file}: must be a folder, got a zip file, which only `posetools convert` reads", hint=way)


def splits_of(data_root: Path) -> tuple[str, ...]:
    """Return the existing splits: train and val first, then others by name.

    Raises:
        RequestError: ``data_root`` is not a folder, has no split, or was left incomplete by a killed process.
    """
    if not data_root.is_dir():
        refuse_zip(data_root)
        raise RequestError(f"{data_root}: must be a data set folder, but does not exist")
    if (data_root / SPLIT_JOURNAL).is_file():
        raise RequestError(
            f"{data_root}: an interrupted `posetools split` or `posetools validate --fix` left it incomplete",
            hint=f"`posetools validate --fix {quoted(data_root)}` or `posetools split` completes it",
        )
    found = sorted(path.name.removesuffix("_coco.json") for path in data_root.glob("*_coco.json"))
    if not found:
        raise RequestError(
            f"{data_root}: must be a data set folder with train_coco.json and val_coco.json, but has neither",
            hint=_how_to_convert(data_root),
        )
    return tuple(sorted(found, key=lambda name: (name not in SPLITS, name)))


def _how_to_convert(folder: Path) -> str:
    """Return the hint to make a data set: from the labels in the folder, or in the folder if it is empty."""
    if is_url(folder):
        return "`posetools convert SRC --out NEW` makes one"
    if is_empty(folder):
        return f"`posetools convert SRC --out {quoted(folder)}` makes one"
    # The output must not be in a folder with files, nor in the source.
    return f"`{_convert_to(folder)}` makes one from the labels in it"


def _convert_to(source: Path) -> str:
    """Return the command that converts a folder or a zip file into a new folder next to it."""
    folder = Path(os.path.abspath(source))  # noqa: PTH100
    name = (folder.stem if is_zip_name(folder.name) else folder.name) or "data"
    endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    free = next(path for ending in endings if not (path := folder.parent / f"{name}-coco{ending}").exists())
    shown = str(free) if source.is_absolute() else os.path.relpath(free)
    return f"posetools convert {quoted(source)} --out {quoted(shown)}"


def check_out(
    out: Path, sources: Iterable[Path], *, overwrite: bool, wrote: str = "posetools", option: str = "--out"
) -> None:
    """Refuse an output folder that is not empty, or is in a source or around one.

    Args:
        out: the folder to write.
        sources: files and folders that are read.
        overwrite: whether a data set that is there may be replaced; nothing else ever is.
        wrote: who writes such data sets, for the message.
        option: what the running command calls ``out``, for the message.

    Raises:
        RequestError: it cannot be written.
    """
    real = out.resolve()
    for path in sources:
        other = path.resolve()
        if other.is_relative_to(real) or (other.is_dir() and real.is_relative_to(other)):
            raise RequestError(
                f"{option} must be outside the source and must not contain it, got {out} and {path}",
                hint="choose a folder next to it",
            )
    check_free(out, overwrite=overwrite, hint=f"--overwrite replaces it; or choose another {option}")
    if out.is_dir() and not is_empty(out) and not (out / CONVERSION).is_file():
        raise RequestError(
            f"{out}: --overwrite replaces only output of {wrote}, but {CONVERSION} is missing",
            hint=f"choose another {option}, or remove the folder yourself",
        )


def categories_of(data_root: Path, explicit: str | Path | None = None) -> Categories:
    """Return the categories of a data set, each with its skeleton: the requested ones, else its own.

    Its own are in its skeleton.yaml, else in conversion.json, else they are made from the categories with keypoints of
    its COCO files.

    Args:
        data_root: the data set's folder, or one COCO file.
        explicit: a built-in name or a path, when the user gave one.

    Raises:
        RequestError: none was given, and no category has keypoints.
        InputError: a file cannot be read or breaks a rule.
    """
    if explicit is not None:
        return load_categories(explicit)
    folder = data_root.parent if data_root.is_file() else data_root
    if (folder / SKELETON_FILE).is_file():
        return read_categories(folder / SKELETON_FILE)
    recorded = folder / CONVERSION
    own = _recorded_categories(recorded) if recorded.is_file() else None
    return own or _declared_categories(data_root)


def skeleton_of(data_root: Path, explicit: str | Path | None = None) -> Skeleton:
    """Return the skeleton of a data set with one category.

    Raises:
        RequestError: there are several, or as ``categories_of``.
        InputError: as ``categories_of``.
    """
    categories = categories_of(data_root, explicit)
    if len(categories) == 1:
        return categories.only
    rule = "one category, which this command needs"
    new = quoted(f"{data_root}-one")
    way = f"`posetools convert {quoted(data_root)} --categories NAME --out {new}` takes one category"
    raise RequestError(must_be(str(data_root), rule, list(categories.ids)), hint=way)


def _declared_categories(data_root: Path) -> Categories:
    """Return the categories of a data set that another program wrote; the first file decides."""
    refuse_zip(data_root)
    found: dict[str, tuple[Any, Skeleton]] = {}
    unreadable: InputError | None = None
    splits = () if data_root.is_file() else splits_of(data_root)
    for path in [ann_file(data_root, split) for split in splits] or [data_root]:
        try:
            entries = read_document(path).entries("categories")
        except InputError as exc:
            unreadable = unreadable or exc
            continue
        for category in entries:
            name, points = (category.get(key) if isinstance(category, dict) else None for key in ("name", "keypoints"))
            if not isinstance(name, str) or not isinstance(points, list) or not points or name in found:
                continue
            names, links = tuple(map(str, points)), links_of(category)
            draft = made_skeleton(name, names, links=links, in_order=True, leave_unsure=True)
            found[name] = category.get("id"), draft.skeleton
    if found:
        return Categories.numbered(found.values())
    if unreadable:
        raise unreadable
    rule = "at least one category with keypoints, to have a skeleton without --skeleton"
    way = f"--skeleton {new_file('')} names the keypoints; `{new_command(())}` writes such a file"
    raise RequestError(must_be(str(data_root), rule, "none"), hint=way)


def _recorded_categories(path: Path) -> Categories | None:
    document = read_json(path)
    if not isinstance(document, dict) or not {"skeleton", "skeletons"} & document.keys():
        return None
    recorded = categories_in(path, document)
    return Categories(tuple(map(_with_template, recorded.skeletons)))


def _with_template(recorded: Skeleton) -> Skeleton:
    built_in = None if recorded.template else BUILT_IN.get(recorded.name)
    if built_in is not None:
        # Data sets from before built-in skeletons had templates.
        return built_in if built_in.model_copy(update={"template": None}) == recorded else recorded
    return recorded
