"""VIA (VGG Image Annotator): a project of VIA 2 or 3, or VIA 2's annotations exported as JSON or CSV.

Read as follows; docs/formats.md explains it to users, tests/formats/via/test_via.py has one test for each point.

- An object is a ``rect`` region labeled with the skeleton's category; its keypoints are ``point`` regions labeled
  with the keypoints' names. Which point belongs to which rectangle is decided as for labelme: see formats/joining/.
  Without rectangles of the category, outlines of it (polygon, circle, ellipse) give their upright box.
- VIA has no fixed attributes. The label is ``region_attributes``'s ``label``, else ``name``, else ``class``; the object
  (what a rectangle and its points share) is ``object``, ``group``, ``instance`` or ``group_id``; the visibility is
  ``visibility`` (0, 1, 2, visible, occluded, hidden), or ``visible``, ``occluded`` or ``hidden`` (yes or no, or a
  checkbox), which must agree; letter case does not matter. ``--attribute`` names others. All other attributes are
  reported. Regions without a label are one finding per file (unlabeled.py).
- Unambiguous values of another type are read and counted per file (W324; regions.py).
- The image is ``filename`` in the project's ``default_filepath``, else ``filename`` (VIA 3: ``src``, else ``fname``),
  both relative to the file; or found in an ``--image-root`` folder. ``size`` (bytes) is not compared.
- VIA 1's files (``regions`` as an object) and VIA 3's image projects are read as well, videos are not.

Written: ``via_project.json``, a project that VIA 2 opens, with the images below it; all splits in one. VIA cannot
store iscrowd (refused), areas or splits. When read again, boxes are equal to 1e-9 px, points exactly.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from posetools.core.categories import Categories
from posetools.core.dataset import Dataset, Split, Visibility
from posetools.core.findings import Finding
from posetools.core.geometry import xywh_from_xyxy
from posetools.errors import InputError
from posetools.files.disk import Transfer, dump_json, read_bytes, read_text, transfer, unmarked
from posetools.files.walking import files_to_detect
from posetools.formats.declared import DeclaredCategory
from posetools.formats.entry import Format
from posetools.formats.joined import RepeatedFinding, repaired
from posetools.formats.joining.shape_labels import Labels
from posetools.formats.joining.shapes import read_shapes
from posetools.formats.joining.wording import Wording
from posetools.formats.labels import settled
from posetools.formats.options import ReadOptions
from posetools.formats.reading import FileReading
from posetools.formats.shards import ShardReading, shard_of
from posetools.formats.sources.image_names import named_in
from posetools.formats.sources.many import Opener, SourceFile, list_sources, without_entry
from posetools.formats.target import check_holdable, put_text, slices
from posetools.formats.via.declared import declared_by
from posetools.formats.via.model import (
    METADATA,
    VIA_COLUMNS,
    ViaContent,
    ViaEntry,
    header_of,
    is_via3,
    load_json,
    metadata_of,
    parse_csv,
    parse_json,
    parse_via3,
)
from posetools.formats.via.regions import RegionReader, Roles, ViaRegion
from posetools.formats.via.unlabeled import finding_of, unsettled

PROJECT = "via_project.json"


def _words(attribute: str) -> Wording:
    """Return VIA's words, with the attribute that separates the objects of an image."""
    return Wording(
        tool="VIA",
        shape="region",
        group="object",
        flag="attribute",
        join=f"give both the same value of the attribute {attribute}",
        part=f"give each object its own value of the attribute {attribute}",
        agree="--attribute visibility=NAME chooses the attribute, --hidden-flag WORD the word that means occluded; "
        "or correct it in VIA",
    )


_VIA_WORDING = _words("object")


def detect(path: Path, *, widely: bool = False) -> bool:
    """Return whether the path is a VIA file, or a folder with one among the .json and .csv files that are checked."""
    if path.is_dir():
        return any(map(_is_via, files_to_detect(path, ".json", ".csv", widely=widely)))
    return _may_be(path) and _is_via(path)


def shards(sources: Sequence[Path], categories: Categories, options: ReadOptions) -> Iterator[ShardReading]:
    """Yield the content of the VIA files in these folders (or of these files).

    Raises:
        RequestError: a source is missing or has no VIA file, or an option does not apply.
    """
    options = settled(categories, options)
    labels = Labels.of(categories, options)
    roles = Roles.of(options.attributes, labels.hidden)
    files, images = _files(sources)
    opener = Opener(options.image_roots)
    readings: list[FileReading] = []
    findings: list[Finding] = []
    for number, source in enumerate(files, start=1):
        file, regions = str(source.file), RegionReader(roles)
        entries, wrong = _parse(source.file, regions)
        words = _wording(entries, roles)
        readings += [_read_entry(source, entry, opener, categories, labels, options, words) for entry in entries]
        unlabeled = finding_of(file, entries, roles, labels, options)
        findings += [*wrong, *([unlabeled] if unlabeled else [])]
        findings += repaired(file, regions.repairs)
        options.progress("reading VIA files", number, len(files))
    findings += without_entry(images, readings, "a VIA file")
    yield shard_of(readings, categories, findings, files=len(files))


def declared(sources: Sequence[Path], options: ReadOptions) -> Sequence[DeclaredCategory]:
    """Return the categories that the VIA files declare (declared.py).

    Raises:
        RequestError: a source is missing or has no VIA file, or a label is in doubt.
    """
    roles = Roles.of(options.attributes, frozenset(word.casefold() for word in options.hidden))
    files = [source.file for source in _files(sources)[0]]
    entries = [entry for file in files for entry in _parse(file, RegionReader(roles))[0]]
    return declared_by(files, entries, roles, options)


def write(splits: Mapping[str, Split], folder: Path, how: Transfer) -> None:
    """Write a VIA 2 project and the images, all splits into one folder.

    Raises:
        InputError: VIA cannot store something (see the module docstring).
        OutputError: a file cannot be written.
    """
    check_holdable(splits, "VIA", lambda _, name: name)
    metadata: dict[str, Any] = {}
    for dataset in slices(splits.values()):
        for image, rows in zip(dataset.images, dataset.rows_of_images(), strict=True):
            if image.path is None:
                continue
            transfer(image.path, folder / image.file_name, how)
            regions = [region for number, row in enumerate(rows) for region in _regions(dataset, row, number)]
            size = image.path.stat().st_size
            entry = {"filename": image.file_name, "size": size, "regions": regions, "file_attributes": {}}
            metadata[f"{image.file_name}{size}"] = entry
    if splits:
        put_text(folder / PROJECT, dump_json(_project(metadata, next(iter(splits.values())).categories)))


FORMAT = Format(
    name="via",
    title="VIA",
    detect=detect,
    detect_widely=partial(detect, widely=True),
    signs=(
        f"a .json file with {METADATA}, with entries of filename and regions, or with VIA 3's tables file, view and "
        "metadata; a .csv file with VIA's columns"
    ),
    shards=shards,
    endings=(".json", ".csv"),
    declared=declared,
    write=write,
    lacks=frozenset({"splits", "areas", "links", "pairs", "sigmas"}),
)


def _files(sources: Sequence[Path]) -> tuple[list[SourceFile], list[Path]]:
    return list_sources(
        sources, lambda path: _may_be(path) and _is_via(path, damaged=True), "VIA's .json or .csv files"
    )


def _may_be(path: Path) -> bool:
    return path.suffix.lower() in (".json", ".csv") and path.is_file()


def _is_via(path: Path, *, damaged: bool = False) -> bool:
    """Return whether a file is VIA's; ``damaged`` is the answer for invalid JSON with its keys."""
    data = b""
    try:
        if path.suffix.lower() == ".csv":
            return set(VIA_COLUMNS) <= set(header_of(read_text(path).partition("\n")[0])[0])
        data = unmarked(read_bytes(path))
        # Other formats' files come here too, and can be large: only what may be VIA's is parsed.
        if b'"regions"' not in data and b'"attribute"' not in data:
            return False
        raw = from_json(data)
        return is_via3(raw) or metadata_of(raw) is not None
    except InputError:
        return False
    except ValueError:
        return damaged and (b'"regions"' in data or b'"fid_list"' in data)


def _parse(file: Path, reader: RegionReader) -> ViaContent:
    try:
        if file.suffix.lower() == ".csv":
            return parse_csv(read_text(file), str(file), reader)
        raw = load_json(read_bytes(file), str(file))
    except InputError as exc:
        return [], [Finding("E310", str(file), exc.place, exc.problem, exc.hint)]
    if isinstance(raw, Finding):
        return [], [raw]
    if is_via3(raw):
        return parse_via3(raw, str(file), reader)
    return parse_json(raw, str(file), reader)


def _wording(entries: Sequence[ViaEntry], roles: Roles) -> Wording:
    """Return VIA's words; the advice names an attribute without a role that may number the objects."""
    if "object" in roles.asked:
        return _words(roles.names["object"][0])
    if not (name := _numbering(entries)):
        return _VIA_WORDING
    typed = f"--attribute {shlex.quote(f'object={name}')} uses {name} as the object"
    return replace(_VIA_WORDING, join=f"{_VIA_WORDING.join}; {typed}, if it is the same for a box and its points")


def _numbering(entries: Sequence[ViaEntry]) -> str:
    """Return the attribute that the regions of an object may share: no value has a label twice in an image."""
    labels: dict[str, Counter[tuple[int, str, str]]] = {}
    for at, entry in enumerate(entries):
        for _, region in entry.regions:
            for name, text in region.others.items() if isinstance(region, ViaRegion) else ():
                labels.setdefault(name, Counter())[at, text, region.label or ""] += 1
    for name, found in labels.items():
        sizes = Counter((at, text) for at, text, _ in found)
        several = Counter(at for at, _ in sizes)
        if max(found.values()) == 1 and max(sizes.values()) > 1 and max(several.values()) > 1 and "," not in name:
            return name
    return ""


def _read_entry(
    source: SourceFile,
    entry: ViaEntry,
    opener: Opener,
    categories: Categories,
    labels: Labels,
    options: ReadOptions,
    words: Wording,
) -> FileReading:
    file = source.file
    texts, named = [*entry.paths, entry.image], [entry.image]
    if "://" in entry.image:
        # An image on the web may also be a local file of that name.
        texts.append(named_in(entry.image).name)
    count = len(entry.regions)
    reading = opener.open(source, texts, place=entry.place, objects=count, what="regions", named=named)
    if entry.problem:
        message = f"{entry.problem} ({len(entry.regions)} regions left out)"
        hint = "correct it in VIA; --keep-going reads the other images"
        wrong = Finding("E311", str(file), entry.place, message, hint)
        return FileReading(file, identity=reading.identity, findings=[wrong])
    if reading.image is None:
        return reading
    if unsettled(entry, labels, options):
        return FileReading(file, identity=reading.identity)
    regions = entry.regions
    reading = read_shapes(reading, regions, "", categories=categories, labels=labels, options=options, wording=words)
    if not entry.notes:
        return reading
    listed = ", ".join(entry.notes)
    message = f"file attributes ({listed}) are not carried over: COCO keypoints cannot store them"
    note = RepeatedFinding("W323", str(file), entry.image, message, what=message)
    return replace(reading, findings=[*reading.findings, note])


def _regions(dataset: Dataset, row: int, number: int) -> list[dict[str, Any]]:
    category = dataset.categories[int(dataset.category_ids[row])].category.name
    x, y, width, height = xywh_from_xyxy(dataset.boxes[row : row + 1])[0].tolist()
    rect = {"name": "rect", "x": x, "y": y, "width": width, "height": height}
    said: dict[str, Any] = {"label": category, "object": str(number)}
    regions = [{"shape_attributes": rect, "region_attributes": said}]
    for index in np.flatnonzero(dataset.visibility[row]):
        cx, cy, visibility = dataset.keypoints[row, index].tolist()
        word = "occluded" if visibility == Visibility.HIDDEN else "visible"
        said = {"label": dataset.categories.names[index], "object": str(number), "visibility": word}
        regions.append({"shape_attributes": {"name": "point", "cx": cx, "cy": cy}, "region_attributes": said})
    return regions


def _project(metadata: dict[str, Any], categories: Categories) -> dict[str, Any]:
    """Return a project as VIA 2.0.10 saves it; settings that are left out are VIA's own."""
    labels = dict.fromkeys((*categories.ids, *categories.names), "")
    return {
        "_via_settings": {
            "ui": {},
            "core": {"buffer_size": 18, "filepath": {}, "default_filepath": ""},
            "project": {"name": "posetools"},
        },
        METADATA: metadata,
        "_via_attributes": {
            "region": {
                "label": {"type": "dropdown", "description": "", "options": labels, "default_options": {}},
                "object": {"type": "text", "description": "the same for a box and its points", "default_value": ""},
                "visibility": {
                    "type": "radio",
                    "description": "of a point",
                    "options": {"visible": "", "occluded": ""},
                    "default_options": {},
                },
            },
            "file": {},
        },
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(metadata),
    }
