"""The commands of posetools as a table, so that one is loaded only when it is asked for.

The sentences are the first lines of the functions' docstrings; ``tests/cli/test_front.py`` holds them to that.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        name: as typed.
        place: its module in ``posetools.cli``, and the function (or, for a group of commands, the typer app) in it.
        panel: the heading under which the help lists it; empty for a command that it does not list.
        summary: the sentence beside it.
    """

    name: str
    place: str
    panel: str
    summary: str


DATA, LABELLING, TRAINING, USING, STARTING = (
    "Data",
    "Labelling with a model",
    "Training",
    "Using a pair",
    "Getting started",
)
COMMANDS = (
    Command(
        "convert",
        "convert:convert",
        DATA,
        "Convert labelled pictures into a data set: pictures, train_coco.json, val_coco.json, conversion.json.",
    ),
    Command("validate", "validate:validate", DATA, "Check a data set before training on it."),
    Command("split", "split:split", DATA, "Split the pictures of a finished data set into train and val anew."),
    Command(
        "merge",
        "merge:merge",
        DATA,
        "Make one data set of several: train with train, val with val; `posetools split` splits it anew.",
    ),
    Command(
        "subset",
        "subset:subset",
        DATA,
        "Write a part of a data set as a data set of its own: the pictures that meet every condition, in their splits.",
    ),
    Command(
        "diff",
        "diff:diff",
        DATA,
        "Tell what differs between two labellings of the same pictures: pictures, objects, boxes, and every keypoint.",
    ),
    Command(
        "sigmas",
        "sigmas:sigmas",
        DATA,
        "Measure each keypoint's sigma, on which OKS and AP depend, from pictures that two people labelled.",
    ),
    Command(
        "view",
        "view:view",
        DATA,
        "Draw the labels into the pictures, and show them on one sheet: discs are visible points, rings hidden ones.",
    ),
    Command(
        "annotate",
        "annotate:annotate",
        LABELLING,
        "Start labelme on a folder with a skeleton's labels, flags and colours; it must be installed.",
    ),
    Command(
        "prelabel",
        "prelabel:prelabel",
        LABELLING,
        "Write what a trained pair finds beside the pictures, as labelme files; a file that a person saved stays.",
    ),
    Command(
        "review",
        "review:review",
        LABELLING,
        "Choose the pictures from which most is to be learnt: a list with reasons, a sheet, a folder for labelme.",
    ),
    Command(
        "config", "config:config", TRAINING, "Write the pair of configs that trains RTMDet and RTMPose on a data set."
    ),
    Command("train", "train:train", TRAINING, "Train one stage of a pair, or both, with mmengine's Runner."),
    Command(
        "slurm",
        "slurm:slurm",
        TRAINING,
        "Write a job file for Slurm that trains on several GPUs and goes on by itself when its time was up.",
    ),
    Command(
        "eval",
        "evaluate:evaluate",
        TRAINING,
        "Evaluate a trained pair on a split: what it reaches, and why it does not reach more.",
    ),
    Command(
        "rescue",
        "rescue:rescue",
        TRAINING,
        "Put the weights as trained in the place of an average that posetools 0.1 broke.",
    ),
    Command(
        "plot", "plot:plot", TRAINING, "Draw the learning curves that runs logged: losses, metrics, learning rate."
    ),
    Command(
        "predict",
        "predict:predict",
        USING,
        "Find objects and their keypoints in pictures, videos, or what a camera sees.",
    ),
    Command(
        "publish",
        "publish:publish",
        USING,
        "Make a checkpoint fit to hand on: the weights to predict with, config, skeleton and metrics, nothing else.",
    ),
    Command(
        "export",
        "export:export",
        USING,
        "Write a trained pair as a bundle: two ONNX files, the skeleton, thresholds, and samples with expected "
        "outputs.",
    ),
    Command(
        "verify",
        "verify:verify",
        USING,
        "Say what is in a bundle, and run it on its own samples to see that it finds what it found when it was made.",
    ),
    Command(
        "demo",
        "demo:demo",
        STARTING,
        "Show the whole road: render labelled cars, convert, validate, config, train, eval, draw. Nothing is "
        "downloaded.",
    ),
    Command(
        "doctor",
        "doctor:doctor",
        STARTING,
        "Say whether this environment can train, and how to mend what is wrong with it.",
    ),
    Command(
        "skeleton", "skeleton:app", STARTING, "Show a skeleton, check a skeleton file, or write one to start from."
    ),
    # The name that MMDet and MMPose give it.
    Command("test", "evaluate:evaluate", "", "Evaluate a trained pair on a split."),
)
