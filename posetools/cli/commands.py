"""The commands of posetools as a table, and those of other packages.

A command's module, which an entry point of the group ``posetools.commands`` names, is imported only when it runs. The
sentences are the first lines of the functions' docstrings; ``tests/cli/test_front.py`` compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from posetools.plugins.registry import Plugin

# A line without a colon is the heading of the commands below it. `test` is the name of `eval` in MMDet and MMPose.
_TABLE = """\
Data
convert: Convert labeled images to a COCO keypoint data set with train and val, or to another format.
validate: Check a data set before training: labels, keypoints, splits and images.
split: Split the images of a data set again, or share them out into folds.
merge: Merge several data sets into one.
subset: Write part of a data set as a new data set: the images that match all conditions.
diff: Compare two labelings of the same images: images, objects, boxes and keypoints.
sigmas: Measure the OKS sigma of each keypoint from images that two people labeled.
view: Draw labels on the images and put them on one sheet.
Labeling with a model
annotate: Start labelme on a folder with the labels, flags and colors of a skeleton.
prelabel: Write the predictions of a trained pair as labelme files next to the images.
review: Select the images that are most worth labeling or checking next.
Training
config: Write the RTMDet and RTMPose configs that fit a data set and this machine.
train: Train the detector, the pose estimator, or both.
slurm: Write a Slurm job file that trains on several GPUs and resumes after its time limit.
eval: Evaluate a trained pair on a split, and show why AP is lost.
rescue: Replace the weight averages that posetools 0.1 broke with the trained weights.
plot: Plot the learning curves of runs: losses, metrics and learning rate.
Using a trained pair
predict: Detect objects and their keypoints in images, videos or a camera stream.
publish: Write a checkpoint to share: weights, config, skeleton and metrics, without optimizer state.
export: Export a trained pair as one file, a bundle, that runs on ONNX without OpenMMLab.
verify: Run a bundle on its own samples and compare the results with those of its export.
Getting started
fit: Train a pair on labeled images in one command: convert, validate, config, train, eval, export, verify.
demo: Run `posetools fit` on rendered cars, from labelme files to a verified bundle, and predict on a clip.
doctor: Check whether this environment can train, and say how to fix it.
skeleton: Show a skeleton, check a skeleton file, or write a new one.

test: Evaluate a trained pair on a split.
"""


class Command(NamedTuple):
    """One command.

    Attributes:
        name: as typed.
        panel: the heading under which the help lists it; empty for a hidden command.
        summary: its sentence in that list.
    """

    name: str
    panel: str
    summary: str

    @property
    def plugin(self) -> Plugin:
        """What it is registered as."""
        from posetools.plugins.registry import registered

        return registered("commands").by_name[self.name]

    def load(self) -> Any:
        """Return the command's function, or its typer app where it is a group of commands.

        Raises:
            PluginError: it is another package's, and cannot be imported, or is neither.
        """
        import typer

        loaded = self.plugin.load()
        if not self.plugin.own and not callable(loaded) and not isinstance(loaded, typer.Typer):
            raise self.plugin.error(f"must be a function or a typer app, got {loaded!r}")
        return loaded

    def as_click(self) -> Any:
        """Return the command's click object, with the options in ``params``.

        Raises:
            PluginError: it is another package's, and cannot be used.
        """
        import typer

        from posetools.cli.help import HelpCommand

        plugin, holder = self.plugin, typer.Typer(add_completion=False)
        with plugin.guarded("cannot be used"):
            loaded = self.load()
            if isinstance(loaded, typer.Typer):
                holder.add_typer(loaded, name=self.name)
            else:
                holder.command(self.name, cls=HelpCommand, hidden=not self.panel)(loaded)
            # Without a callback typer drops the name of a single command.
            holder.callback()(lambda: None)
            group: Any = typer.main.get_command(holder)
        command = group.commands[self.name]
        if not plugin.own:
            command.invoke = _guarded(plugin, command.invoke)
        return command


def _guarded(plugin: Plugin, invoke: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return another package's command with its mistakes as errors that name it."""

    def run(context: Any) -> Any:
        import typer

        from posetools.errors import PosetoolsError

        # Typer has its own copy of click, earlier versions import it.
        click_exception = typer.BadParameter.__mro__[2]
        with plugin.guarded("failed", PosetoolsError, click_exception, typer.Abort, typer.Exit, SystemExit):
            return invoke(context)

    return run


def foreign_commands() -> Iterator[Command]:
    """Yield the commands of other packages; the sentence of one that cannot be used says why."""
    import inspect

    from posetools.errors import PluginError
    from posetools.plugins.registry import registered

    try:
        plugins = registered("commands").by_name.values()
    except PluginError:
        # posetools' own metadata are wrong: every command says so, and the help still comes.
        return
    for plugin in plugins:
        if plugin.own:
            continue
        command = Command(plugin.name, f"Commands of {plugin.package}", "")
        try:
            loaded = command.load()
            text = getattr(getattr(loaded, "info", None), "help", None) or inspect.getdoc(loaded) or ""
        except PluginError as exc:
            text = f"Not available: {exc.sentence}"
        yield command._replace(summary=str(text).strip().partition("\n")[0])


def _rows() -> Iterator[Command]:
    panel = ""
    for line in _TABLE.splitlines():
        name, colon, summary = line.partition(": ")
        if colon:
            yield Command(name, panel, summary)
        else:
            panel = line


COMMANDS = tuple(_rows())
