"""The commands of posetools as a table, so that one is loaded only when it is asked for.

The sentences are the first lines of the functions' docstrings; ``tests/cli/test_front.py`` holds them to that.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

# A line of its own is the heading of the commands under it; `test` is the name that MMDet and MMPose give `eval`.
_TABLE = """\
Data
convert: Convert labeled images into a data set: images, train_coco.json, val_coco.json, conversion.json.
validate: Check a data set before training on it.
split: Split the images of a finished data set into train and val anew.
merge: Make one data set of several: train with train, val with val; `posetools split` splits it anew.
subset: Write a part of a data set as a data set of its own: the images that meet every condition, in their splits.
diff: Tell what differs between two labelings of the same images: images, objects, boxes, and every keypoint.
sigmas: Measure each keypoint's sigma, on which OKS and AP depend, from images that two people labeled.
view: Draw the labels into the images, and show them on one sheet: discs are visible points, rings hidden ones.
Labeling with a model
annotate: Start labelme on a folder with a skeleton's labels, flags and colors; it must be installed.
prelabel: Write what a trained pair finds beside the images, as labelme files; a file that a person saved stays.
review: Choose the images from which most is to be learned: a list with reasons, a sheet, a folder for labelme.
Training
config: Write the pair of configs that trains RTMDet and RTMPose on a data set.
train: Train one stage of a pair, or both, with mmengine's Runner.
slurm: Write a job file for Slurm that trains on several GPUs and goes on by itself when its time was up.
eval: Evaluate a trained pair on a split: what it reaches, and why it does not reach more.
rescue: Put the weights as trained in the place of an average that posetools 0.1 broke.
plot: Draw the learning curves that runs logged: losses, metrics, learning rate.
Using a pair
predict: Find objects and their keypoints in images, videos, or what a camera sees.
publish: Make a checkpoint fit to hand on: the weights to predict with, config, skeleton and metrics, nothing else.
export: Write a trained pair as a bundle: two ONNX files, the skeleton, thresholds, and samples with expected outputs.
verify: Say what is in a bundle, and run it on its own samples to see that it finds what it found when it was made.
Getting started
demo: Show the whole road: render labeled cars, convert, validate, config, train, eval, draw. Nothing is downloaded.
doctor: Say whether this environment can train, and how to mend what is wrong with it.
skeleton: Show a skeleton, check a skeleton file, or write one to start from.

test: Evaluate a trained pair on a split.
"""
_FUNCTIONS = {"eval": "evaluate:evaluate", "test": "evaluate:evaluate", "skeleton": "skeleton:app"}


class Command(NamedTuple):
    """One command.

    Attributes:
        name: as typed.
        target: its module in ``posetools.cli``, and the function (or, for a group of commands, the typer app) in it.
        panel: the heading under which the help lists it; empty for a command that it does not list.
        summary: the sentence beside it.
    """

    name: str
    target: str
    panel: str
    summary: str

    def load(self) -> Any:
        """Return the command's function, or its typer app where it is a group of commands."""
        module, _, name = self.target.partition(":")
        return getattr(import_module(f"posetools.cli.{module}"), name)

    def as_click(self) -> Any:
        """Return what typer makes of the command: its click object, with the options in ``params``."""
        import typer

        from posetools.cli.help import HelpCommand

        loaded = self.load()
        holder = typer.Typer(add_completion=False)
        if isinstance(loaded, typer.Typer):
            holder.add_typer(loaded, name=self.name)
        else:
            holder.command(self.name, cls=HelpCommand, hidden=not self.panel)(loaded)
        # With a callback typer keeps a single command's name.
        holder.callback()(lambda: None)
        group: Any = typer.main.get_command(holder)
        return group.commands[self.name]


def _rows() -> Iterator[Command]:
    panel = ""
    for line in _TABLE.splitlines():
        name, colon, summary = line.partition(": ")
        if colon:
            yield Command(name, _FUNCTIONS.get(name, f"{name}:{name}"), panel, summary)
        else:
            panel = line


COMMANDS = tuple(_rows())
