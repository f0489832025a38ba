"""Which trainer made a run, and the trainers by name.

A run of another trainer than OpenMMLab's has a ``trainer.json`` in its folder; a run of OpenMMLab's is known by its
configs, as runs of earlier versions are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posetools.core.categories import Categories, dump_categories
from posetools.errors import InputError, RequestError, must_be
from posetools.files.disk import dump_json, read_json, write_texts
from posetools.mm.run_folder import SKELETON
from posetools.plugins.registry import Plugin, registered

OPENMMLAB = "openmmlab"
TRAINER_RECORD = "trainer.json"


@dataclass(frozen=True, slots=True)
class TrainedBy:
    """What ``trainer.json`` records.

    Attributes:
        trainer: the name of the trainer.
        data: the data set's folder.
    """

    trainer: str
    data: Path


def trained_by(run: Path) -> TrainedBy | None:
    """Return what a run records of its trainer; None: it is a run of OpenMMLab.

    Raises:
        InputError: the record cannot be read.
    """
    path = run / TRAINER_RECORD
    if not path.is_file():
        return None
    document = read_json(path)
    found = document if isinstance(document, dict) else {}
    for key in ("trainer", "data"):
        if not isinstance(found.get(key), str):
            raise InputError(path, key, must_be(key, "a text", found.get(key)))
    return TrainedBy(found["trainer"], Path(found["data"]))


def record_trainer(run: Path, made: TrainedBy, categories: Categories) -> None:
    """Write a run's ``trainer.json`` and ``skeleton.yaml``.

    Raises:
        OutputError: a file cannot be written.
    """
    document = {"trainer": made.trainer, "data": made.data.as_posix()}
    write_texts({run / TRAINER_RECORD: dump_json(document), run / SKELETON: dump_categories(categories)})


def trainer_named(name: str, source: str) -> Plugin:
    """Return the plug-in of a trainer.

    Args:
        name: the trainer's.
        source: what names it, for the message.

    Raises:
        RequestError: there is no such trainer.
    """
    known = registered("trainers").by_name
    if name not in known:
        raise RequestError(
            must_be(source, f"one of {', '.join(known)}", name),
            hint="install the package that has this trainer; `posetools doctor` lists those that are installed",
        )
    return known[name]


def trainer_of(run: Path) -> Plugin:
    """Return the plug-in of the trainer that made a run.

    Raises:
        InputError: the record of the run cannot be read.
        RequestError: its trainer is not installed.
    """
    made = trained_by(run)
    return (
        trainer_named(made.trainer, f"{run / TRAINER_RECORD}: trainer")
        if made
        else registered("trainers").by_name[OPENMMLAB]
    )
