"""What a DeepLabCut project declares: config.yaml, and the header of its CollectedData files.

config.yaml has the body parts in their order, and the links of the skeleton. The project's ``Task`` is the category.
Body parts of no animal (``uniquebodyparts``) belong to the individual ``single``, which is a category of that name.
Without config.yaml, individuals with the same body parts are one category.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posetools.core.findings import Finding
from posetools.errors import InputError
from posetools.files.disk import read_text
from posetools.files.yaml_text import parse_yaml
from posetools.formats.declared import UNNAMED_CATEGORY, DeclaredCategory, with_options
from posetools.formats.deeplabcut.table import read_table
from posetools.formats.options import ReadOptions
from posetools.formats.sources.many import SourceFile

CONFIG = "config.yaml"
LABELED_DATA = "labeled-data"
# DeepLabCut's individual for body parts of no animal.
SINGLE = "single"


@dataclass
class _Project:
    """The body parts by category, in their order, and the links between them by name."""

    where: str
    task: str = UNNAMED_CATEGORY
    parts: dict[str, dict[str, None]] = field(default_factory=dict)
    links: list[tuple[str, str]] | None = None

    def add_config(self, config: Mapping[str, Any]) -> None:
        task = config.get("Task")
        self.task = self.task or (str(task).strip() if task else UNNAMED_CATEGORY)
        several = _texts(config.get("multianimalbodyparts"))
        own = several if config.get("multianimalproject") else _texts(config.get("bodyparts"))
        for category, names in ((self.task, own), (SINGLE, _texts(config.get("uniquebodyparts")))):
            if names:
                self.parts.setdefault(category, {}).update(dict.fromkeys(names))
        pairs = config.get("skeleton")
        for pair in pairs if isinstance(pairs, list) else ():
            if isinstance(pair, list) and len(pair) == 2:
                self.links = [*(self.links or ()), (str(pair[0]), str(pair[1]))]

    def add_header(self, columns: Mapping[str, dict[str, None]]) -> None:
        """Add the body parts of each individual in a file."""
        for individual, names in columns.items():
            own = [category for category, known in self.parts.items() if known.keys() & names.keys()]
            is_first = not individual or (self.task not in self.parts and individual != SINGLE)
            category = own[0] if own else self.task if is_first else individual
            self.parts.setdefault(category, {}).update(names)

    def categories(self) -> list[DeclaredCategory]:
        return [
            DeclaredCategory(name, tuple(parts), self.where, links=self._links(parts))
            for name, parts in self.parts.items()
        ]

    def _links(self, parts: Mapping[str, None]) -> tuple[tuple[int, int], ...] | None:
        if self.links is None:
            return None
        place = {name: number for number, name in enumerate(parts)}
        return tuple((place[a], place[b]) for a, b in self.links if a in place and b in place)


def declared_in(files: Sequence[SourceFile], options: ReadOptions) -> list[DeclaredCategory]:
    """Return the categories that DeepLabCut's files declare; unreadable files are left to the reader.

    Raises:
        MissingExtraError: an .h5 file needs packages that are not installed.
    """
    configs = {path: config for source in files if (path := _config(source)) and (config := _read(path))}
    project = _Project(str(next(iter(configs), files[0].file)))
    for config in configs.values():
        project.add_config(config)
    for source in files:
        table = read_table(source.file)
        by_individual: dict[str, dict[str, None]] = {}
        for column in () if isinstance(table, Finding) else table.columns:
            if column.individual not in options.ignore:
                by_individual.setdefault(column.individual, {}).setdefault(column.bodypart)
        project.add_header(by_individual)
    found = (with_options(one, options) for one in project.categories())
    return [one for one in found if one is not None]


def _config(source: SourceFile) -> Path | None:
    """Return the config.yaml of a file's project, which has labeled-data/<video>/<file>, or of its source."""
    above = source.file.absolute().parents
    places = [source.root, *([above[2]] if len(above) > 2 and above[1].name == LABELED_DATA else [])]
    return next((folder / CONFIG for folder in places if (folder / CONFIG).is_file()), None)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        config = parse_yaml(path, read_text(path))
    except InputError:
        return {}
    return config if isinstance(config, dict) else {}


def _texts(names: Any) -> list[str]:
    return [str(name) for name in names] if isinstance(names, list) else []
