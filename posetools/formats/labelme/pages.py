"""labelme files that are not UTF-8: find their code page.

Before version 4.2.11 labelme wrote the system's code page. The files of one source are decided together, after all
others have been read: by ``--encoding``, or else by the text. A code page is used when it is the only one in which
labels are names that the user gave, or paths are images that exist. Where several readings are possible and none is
confirmed, all these files are one finding with the options to choose from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from posetools.core.findings import Finding
from posetools.errors import InputError, shortened
from posetools.files.disk import read_bytes
from posetools.files.urls import as_path
from posetools.formats.joining.shape_labels import Labels
from posetools.formats.labelme.list import LabelmeSource
from posetools.formats.labelme.model import AnyShape, BadShape, Document, parse_document
from posetools.formats.sources.code_pages import PAGES, fitting, foreign_pieces, is_utf8, likeness, readings
from posetools.formats.sources.locate import ImageFinder, Match, PathFrom
from posetools.formats.wildcards import fits

# What a code page makes known in a file: the index of a shape, or None for the image.
KnownImage: TypeAlias = tuple[Path, int | None]

_LABEL_WORD = re.compile(r"\w+")
_OTHER_ENCODING = "--encoding NAME sets another encoding"
# Files parsed to find the code page, and their bytes in all.
_SAMPLE_FILES, _SAMPLE_BYTES = 200, 64 << 20
# Files, code pages and texts that a message lists.
_LISTED_FILES, _OFFERED, _SHOWN_TEXTS = 3, 4, 3
# The embedded image is ASCII, and most of the file.
_IMAGE_DATA = re.compile(rb'"imageData"\s*:\s*"[\w+/=:;,\s]*(?:\\[/nr][\w+/=:;,\s]*)*"')


@dataclass(frozen=True, slots=True)
class Settlement:
    """The code pages of the sources.

    Attributes:
        pages: source folder -> the code page of its files.
        files: the files that can be read with them.
        findings: why others cannot, and which code pages were detected.
        lost: the others.
    """

    pages: dict[Path, str] = field(default_factory=dict)
    files: list[LabelmeSource] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    lost: list[LabelmeSource] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Names:
    """The user's names that are not ASCII: a reading with one is right, no other gives it by chance."""

    labels: Labels
    known: frozenset[str]

    @classmethod
    def of(cls, labels: Labels) -> _Names:
        names = {*labels.categories, *labels.index, *labels.names, *labels.ignored}
        return cls(labels, frozenset(name for name in names if not name.isascii()))

    def holds(self, shape: AnyShape) -> bool:
        """Return whether the user gave a shape's label or one of its words."""
        if isinstance(shape, BadShape):
            return False
        found = self.labels.pattern.fullmatch(shape.label) if self.labels.pattern else None
        parts = {shape.label, *(part for part in (found.groupdict().values() if found else ()) if part)}
        if any(fits(part, name) for part in parts if not part.isascii() for name in self.known):
            return True
        said = shape.attributes.values() if isinstance(shape.attributes, dict) else ()
        texts = [*parts, *(shape.flags or ()), shape.description or "", *(one for one in said if isinstance(one, str))]
        words = {*texts, *_LABEL_WORD.findall(" ".join(texts))}
        return any(not word.isascii() and word.casefold() in self.labels.hidden for word in words)

    def meaning(self, document: Document) -> object:
        """Return what of a file affects the data set; equal for two readings with the same meaning."""
        return document.image_path, [
            (shape.label, shape.group_id, None if isinstance(shape, BadShape) else self.labels.visibility_of(shape))
            for shape in document.shapes
        ]


@dataclass(slots=True)
class _Files:
    """The files of one source that are not UTF-8.

    Attributes:
        fitting: each file, with the code pages that fit it.
        pieces: all of their text that is not ASCII.
        misfits: the same of those that no code page fits, or not the one given.
        sample: some of them, with their content except the image.
    """

    fitting: list[tuple[LabelmeSource, tuple[str, ...]]] = field(default_factory=list)
    pieces: set[bytes] = field(default_factory=set)
    misfits: set[bytes] = field(default_factory=set)
    sample: list[tuple[Path, bytes]] = field(default_factory=list)
    _bytes: int = 0

    def add(self, source: LabelmeSource, pages: Sequence[str], *, given: bool) -> None:
        path = as_path(source[1].start + source[0])
        try:
            content = read_bytes(path)
        except InputError:
            # Deleted since: the next read reports it.
            content = b""
        pieces = foreign_pieces(content)
        found = tuple(page for page in pages if _decodes(content, page)) if given else tuple(fitting(pieces, pages))
        self.fitting.append((source, found))
        if not found:
            self.misfits |= pieces
            return
        if pieces - self.pieces and len(self.sample) < _SAMPLE_FILES and self._bytes < _SAMPLE_BYTES:
            self.sample.append((path, _IMAGE_DATA.sub(b'"imageData":null', content)))
            self._bytes += len(self.sample[-1][1])
        self.pieces |= pieces

    @property
    def readable(self) -> list[LabelmeSource]:
        return [source for source, found in self.fitting if found]

    @property
    def others(self) -> list[LabelmeSource]:
        return [source for source, found in self.fitting if not found]


def settle(
    sources: Sequence[LabelmeSource], labels: Labels, encoding: str | None, finders: Mapping[Path, ImageFinder]
) -> Settlement:
    """Return the code page of the files of each source folder, or why it is not known.

    Args:
        sources: files that are not UTF-8.
        labels: the names that the user gave.
        encoding: the user's; None to detect it.
        finders: source folder -> its image finder.
    """
    settled, names = Settlement(), _Names.of(labels)
    by_root: dict[Path, _Files] = {}
    for source in sources:
        files = by_root.setdefault(source[1].root, _Files())
        files.add(source, (encoding,) if encoding else PAGES, given=encoding is not None)
    for root, files in by_root.items():
        page, finding = (encoding, None) if encoding else _page_of(root, files, names, finders[root])
        findings = [finding] if finding else []
        if files.others:
            findings.append(_none_fits(root, files, encoding))
        if page:
            settled.pages[root] = page
            settled.files.extend(files.readable)
        settled.findings.extend(findings)
        settled.lost.extend(files.others if page else [source for source, _ in files.fitting])
    return settled


def some_reading(data: bytes, file: str, encoding: str | None = None) -> Document | Finding:
    """Return a labelme file in the first encoding that makes it one; it only tells that the file is labelme's.

    Args:
        data: the file's content, in any encoding.
        file: its name, for the finding.
        encoding: the user's; None for all that fit.
    """
    document = parse_document(data, file)
    if isinstance(document, Document) or data.isascii() or is_utf8(data):
        return document
    for page in (encoding,) if encoding else fitting(foreign_pieces(data)):
        try:
            read = parse_document(data.decode(page).encode(), file)
        except ValueError:
            continue
        # E311 is a wrong size in a file that has labelme's keys.
        if isinstance(read, Document) or read.code == "E311":
            return read
    return document


def _page_of(root: Path, files: _Files, names: _Names, finder: ImageFinder) -> tuple[str | None, Finding | None]:
    """Return the code page of a source, with the finding that says so; or None, with the finding that asks for it."""
    if not files.readable:
        return None, None
    known = readings(files.pieces)
    if not known:
        return None, _mixed(root, files)
    documents = _documents(files.sample, known)
    known = {page: texts for page, texts in known.items() if page in documents}
    if not any(documents.values()):
        # Not labelme files in any code page: each is reported on its own.
        return next(iter(known)), None
    told = {page: _evidence(documents[page], names, finder) for page in known}
    # Readings that confirm all that the others do; several may, if they differ in nothing that matters.
    likely = [page for page in known if all(told[page] >= told[other] for other in known)]
    meanings = [[names.meaning(document) for _, document in documents[page]] for page in likely]
    listed, number = _listed(files.readable), len(files.readable)
    if likely and all(meaning == meanings[0] for meaning in meanings):
        page = likely[0]
        return page, Finding("W324", str(root), "", _taken(page, told[page], number, listed), _OTHER_ENCODING)
    message = f"{_are(number)} not UTF-8, and labels and images do not show the encoding: {listed}"
    return None, Finding("E310", str(root), "", message, _offer(known, documents))


def _taken(page: str, told: frozenset[KnownImage], number: int, listed: str) -> str:
    if not told:
        return f"{_are(number)} not UTF-8, in text that does not affect objects: {listed}"
    why = "labels are known names" if any(shape is not None for _, shape in told) else "images are found"
    files, are, were = ("1 file", "is", "was") if number == 1 else (f"{number} files", "are", "were")
    return f"{files} that {are} not UTF-8 {were} read as {page}, in which the {why}: {listed}"


def _documents(sample: Sequence[tuple[Path, bytes]], pages: Iterable[str]) -> dict[str, list[tuple[Path, Document]]]:
    """Return the files as read in each code page, for the pages in which most of them are labelme's."""
    found: dict[str, list[tuple[Path, Document]]] = {page: [] for page in pages}
    for path, content in sample:
        for page, documents in found.items():
            document = parse_document(content.decode(page).encode(), str(path))
            if isinstance(document, Document):
                documents.append((path, document))
    most = max(map(len, found.values()))
    return {page: documents for page, documents in found.items() if len(documents) == most}


def _evidence(documents: Sequence[tuple[Path, Document]], names: _Names, finder: ImageFinder) -> frozenset[KnownImage]:
    """Return the evidence that a reading is right."""
    told: set[KnownImage] = set()
    for path, document in documents:
        told.update((path, number) for number, shape in enumerate(document.shapes) if names.holds(shape))
        if not document.image_path.isascii():
            found = finder.find([PathFrom(document.image_path, path.parent)], file=path, place="imagePath")
            if isinstance(found, Match) and found.exact:
                told.add((path, None))
    return frozenset(told)


def _offer(known: Mapping[str, Sequence[str]], documents: Mapping[str, Sequence[tuple[Path, Document]]]) -> str:
    """Return the options to choose from, with the text under each."""
    shown = {page: _texts([document for _, document in documents[page]]) or known[page] for page in known}
    order = sorted(known, key=lambda page: -likeness(shown[page]))
    read = [f"--encoding {page} reads {', '.join(map(repr, _short(shown[page])))}" for page in order[:_OFFERED]]
    return "; ".join(read) + ("; other encodings fit" if len(order) > _OFFERED else "")


def _texts(documents: Sequence[Document]) -> list[str]:
    """Return the labels and the images' names that are not ASCII."""
    labels = [shape.label for document in documents for shape in document.shapes if shape.label]
    texts = [*labels, *(document.image_path for document in documents)]
    return [text for text in dict.fromkeys(texts) if not text.isascii()]


def _short(texts: Sequence[str]) -> list[str]:
    return [shortened(text) for text in texts[:_SHOWN_TEXTS]]


def _mixed(root: Path, files: _Files) -> Finding:
    """Return the finding on files that no single code page fits."""
    by_pages: dict[tuple[str, ...], list[LabelmeSource]] = {}
    for source, pages in files.fitting:
        if pages:
            by_pages.setdefault(pages, []).append(source)
    some = [f"--encoding {pages[0]} fits {_listed(sources)}" for pages, sources in by_pages.items()]
    hint = f"move the files of each encoding to a separate folder; {'; '.join(some[:_OFFERED])}"
    number, listed = len(files.readable), _listed(files.readable)
    return Finding(
        "E310", str(root), "", f"{number} files are not UTF-8, and no single encoding fits all: {listed}", hint
    )


def _none_fits(root: Path, files: _Files, encoding: str | None) -> Finding:
    said = f"neither UTF-8 nor {encoding}" if encoding else "neither UTF-8 nor in a Windows code page"
    pages = fitting(files.misfits)[:_OFFERED] if encoding else []
    hint = f"{' or '.join(f'--encoding {page}' for page in pages)} fits"
    if not pages:
        hint = "replace the files, which may be damaged; or --encoding NAME sets another encoding"
    elif files.readable:
        hint += "; move the files of each encoding to a separate folder"
    return Finding("E310", str(root), "", f"{_are(len(files.others))} {said}: {_listed(files.others)}", hint)


def _listed(sources: Sequence[LabelmeSource]) -> str:
    """Return the names of some files, relative to their source."""
    names = [f"{folder.prefix or ''}{name}" for name, folder in sources[:_LISTED_FILES]]
    more = f" and {len(sources) - _LISTED_FILES} more" if len(sources) > _LISTED_FILES else ""
    return f"{', '.join(names)}{more}"


def _are(number: int) -> str:
    return "1 file is" if number == 1 else f"{number} files are"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except ValueError:
        return False
    return True
