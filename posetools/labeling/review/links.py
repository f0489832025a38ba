"""The folder of ``posetools review``: links to the chosen images and their labelme files, and the way back.

labelme 5 and 6 write through a link, later versions replace it by a file, and an image without a labelme file gets a
new one next to the link. So ``posetools annotate`` copies new files of such a folder back to the original place.
Predictions that were never saved by a person are not copied. review.json records what was linked to what, and the
digest of each labelme file at that time: if both have changed since, neither is touched, and the output says so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from posetools.errors import from_validation, must_be
from posetools.files.disk import (
    digest_of,
    portable_path,
    read_bytes,
    read_json,
    read_text,
    transfer,
    write_json,
    write_text,
)
from posetools.formats.labelme.write import MARK, is_untouched, labelme_text, marked_text

REVIEW_RECORD = "review.json"
LINKED = "pictures"
# The names of the flags of suspected errors begin with this.
_SUSPECT = "wrong? "

LinkKind: TypeAlias = Literal["symlink", "copy"]


class OriginalLink(BaseModel):
    """A labelme file of the folder and its original, which may not exist yet.

    Attributes:
        file: its path in the folder of links.
        original: the original's path, relative to the folder of review.json.
        digest: of the original's content; empty if there was none.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    file: str
    original: str
    digest: str

    @model_validator(mode="after")
    def _check(self) -> OriginalLink:
        relative = portable_path(self.file)
        if relative is None or ".." in relative.parts:
            raise ValueError(must_be("file", "a path below the folder of links", self.file))
        if Path(self.original).suffix != ".json":
            raise ValueError(must_be("original", "the path of a .json file", self.original))
        return self


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    links: list[OriginalLink] = []


@dataclass(frozen=True, slots=True)
class BringBackResult:
    """The number of files brought back, and a sentence for each that could not be."""

    files: int = 0
    problems: tuple[str, ...] = ()


def link_files(
    images: Sequence[tuple[str, Path]], staged: Path, final: Path, how: LinkKind, *, labels: bool = True
) -> list[OriginalLink]:
    """Link images and the labelme files next to them into a new folder.

    Args:
        images: the name below ``pictures/`` and the file of each.
        staged: the temporary folder to write.
        final: where it will be moved.
        how: symbolic links, or copies.
        labels: also link the labelme files.

    Returns:
        What was linked to what.

    Raises:
        OutputError: a link or copy fails.
    """
    links = []
    for name, path in images:
        target = staged / LINKED / name
        transfer(path, target, how, option="--links")
        if not labels:
            continue
        original = Path(os.path.realpath(path)).with_suffix(".json")
        file = target.with_suffix(".json")
        digest = ""
        if original.is_file():
            digest = digest_of(read_bytes(original))
            transfer(original, file, how, option="--links")
        back = Path(os.path.relpath(original, os.path.realpath(final))).as_posix()
        links.append(
            OriginalLink(file=PurePosixPath(name).with_suffix(".json").as_posix(), original=back, digest=digest)
        )
    return links


def flag_suspects(file: Path, told: Sequence[str], *, beside: bool) -> None:
    """Write suspected errors into a labelme file as flags of the image, which labelme lists.

    A link is replaced by a copy, so that the original keeps its content.

    Args:
        file: a link, a copy or a new file.
        told: a text for each suspect; the file is left alone if there is none.
        beside: whether it has an original, which gets the file only after a person saved it.

    Raises:
        InputError: the file cannot be read.
        OutputError: it cannot be written.
    """
    if not told or not file.is_file():
        return
    document = _plain(read_json(file))
    document["flags"] |= {f"{_SUSPECT}{text}": False for text in told}
    file.unlink()
    write_text(file, marked_text(document, {"suspects": len(told)}) if beside else labelme_text(document))


def _plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a labelme file without the flags of suspects and the mark of unsaved files."""
    flags = {name: value for name, value in (document.get("flags") or {}).items() if not name.startswith(_SUSPECT)}
    return {**{key: value for key, value in document.items() if key != MARK}, "flags": flags}


def is_review(folder: Path) -> bool:
    """Return whether a folder is that of a review, or ``pictures/`` in it, so that saved labels are brought back."""
    return _root(folder) is not None


def _root(folder: Path) -> Path | None:
    return next((one for one in (folder, folder.parent) if (one / REVIEW_RECORD).is_file()), None)


def bring_back(folder: Path) -> BringBackResult:
    """Write the labels saved in a folder of links to the originals; any other folder is left alone.

    Args:
        folder: ``pictures/`` of a review, or the review's folder itself.

    Raises:
        InputError: review.json is damaged.
        OutputError: an original cannot be written.
    """
    root = _root(folder)
    if root is None:
        return BringBackResult()
    content = read_json(root / REVIEW_RECORD)
    try:
        record = _Record.model_validate(content)
    except ValidationError as exc:
        raise from_validation(root / REVIEW_RECORD, exc) from exc
    problems: list[str] = []
    links: list[dict[str, Any]] = []
    files = 0
    for link in record.links:
        digest, problem = _bring_one(link, root)
        files += digest != link.digest
        problems += [problem] if problem else []
        links.append({**link.model_dump(), "digest": digest})
    if files:
        write_json(root / REVIEW_RECORD, {**content, "links": links})
    return BringBackResult(files, tuple(problems))


def _bring_one(link: OriginalLink, root: Path) -> tuple[str, str]:
    """Return the original's new digest, and a problem, if any."""
    file = root / LINKED / link.file
    # Resolve the root's links, then normalize the path for messages.
    original = Path(os.path.normpath(Path(os.path.realpath(root), link.original)))
    if not file.is_file():
        return link.digest, ""
    data = read_bytes(file)
    saved = digest_of(data)
    if saved == link.digest or is_untouched(data):
        return link.digest, ""
    now = digest_of(read_bytes(original)) if original.is_file() else ""
    # Written through a link, or copied back by hand.
    if now == saved:
        return saved, ""
    if now != link.digest:
        return link.digest, f"{file} and {original} were both saved since; neither is touched: keep the one you want"
    write_text(original, labelme_text(_plain(json.loads(data))) if _SUSPECT.encode() in data else read_text(file))
    _link_again(file, original)
    return digest_of(read_bytes(original)), ""


def _link_again(file: Path, original: Path) -> None:
    """Replace a file by a link, if the image next to it is a link too."""
    images = [one for one in file.parent.glob("*") if one.stem == file.stem and one != file]
    if any(one.is_symlink() for one in images):
        file.unlink()
        transfer(original, file, "symlink")
