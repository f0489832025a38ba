"""What posetools adds to a run so that it survives whatever befalls it: hooks, and what mmengine is lent meanwhile.

Each is in its own module: checkpoints that are whole (``saving``), numbers that stay finite and the sentences for what
goes wrong (``mishaps``), random numbers that a stop does not change (``seeding``), strict loading (``weights``), and
what the evaluations say (``evaluations``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from posetools.core.stages import Stage
from posetools.errors import RunError, StoppedError
from posetools.mm.evaluations import Evaluations, early_stopping_of, evaluations_of, is_due, is_enough, resume_hook
from posetools.mm.plain import plain_hook
from posetools.mm.quiet import failures, quiet
from posetools.mm.run_folder import Resumable
from posetools.mm.weights import weights_hook
from posetools.training.mishaps import explained, guard_hook, how_to_go_on, where
from posetools.training.saving import Saving, saved_whole, saving_hook
from posetools.training.seeding import seed_hook
from posetools.training.trackers import without_code


@contextmanager
def watched(stage: Stage, work_dir: Path) -> Iterator[Watch]:
    """Give a Watch for what is run here, and turn what ends it into one sentence that says how to go on.

    Raises:
        RunError: it failed.
        StoppedError: the user stopped it.
    """
    watch = Watch()

    def explain(error: Exception) -> RunError | None:
        return explained(error, watch.runner, stage, work_dir)

    try:
        with (
            failures("training failed", work_dir, explain),
            quiet(),
            _formatted_once(),
            without_code(),
            saved_whole() as saving,
        ):
            watch.saving = saving
            yield watch
    except KeyboardInterrupt as exc:
        raise StoppedError(f"stopped {where(watch.runner)}; {how_to_go_on(stage, work_dir)}") from exc


class Watch:
    """What is known of a run that goes on.

    Attributes:
        runner: mmengine's, as soon as it is built.
        saving: how its checkpoints are written.
    """

    def __init__(self) -> None:
        self.runner: Any = None
        self.saving: Saving

    def hooks(self, evaluations: Evaluations, checkpoint: Path | None) -> tuple[Any, ...]:
        """Return the hooks of a run.

        Args:
            evaluations: of the run.
            checkpoint: what it goes on from, or None.
        """
        own = (weights_hook(), guard_hook(), saving_hook(self.saving), plain_hook(), seed_hook())
        # The last one evaluates, and may save: after all others are ready.
        return (*own, resume_hook(evaluations, checkpoint)) if checkpoint else own


def nothing_left(config: Any, work_dir: Path, found: Resumable) -> str:
    """Return the sentence for a run that is at its end, empty when there is something left to do.

    Args:
        config: of the run, with its number of epochs.
        work_dir: its work folder.
        found: the checkpoint that it would go on from.

    Raises:
        InputError: the record of evaluations cannot be read.
    """
    epochs = config.train_cfg.get("max_epochs", 0)
    evaluations = evaluations_of(config, work_dir)
    recorded = evaluations.read(found.epoch)
    patience = early_stopping_of(config)
    best = evaluations.best
    if best and is_enough(evaluations, patience):
        return (
            f"nothing to do: {found.path} stopped early at epoch {found.epoch} of {epochs}: "
            f"{stopping_text(evaluations)}; --early-stopping with more than {best.since}, or 0, goes on"
        )
    # Killed during the very last evaluation, a run has that left to do.
    evaluated = not recorded or any(epoch == found.epoch for epoch, _ in evaluations.entries)
    if found.epoch >= epochs and (evaluated or not is_due(config.train_cfg, found.epoch)):
        return f"nothing to do: {found.path} is at epoch {found.epoch} of {epochs}"
    return ""


def stopping_text(evaluations: Evaluations) -> str:
    """Return why a run stops early."""
    best = evaluations.best
    if best is None:
        return "nothing could be measured"
    return f"no better {best.name} than {best.value:.3f} in {best.since} evaluations"


@contextmanager
def _formatted_once() -> Iterator[None]:
    """Let mmengine lay out the text of the config once: yapf takes a second for it, with every checkpoint anew."""
    from mmengine.config import config as module

    layout, known = module.FormatCode, dict[str, Any]()

    def remembered(text: str, **style: Any) -> Any:
        if text not in known:
            known[text] = layout(text, **style)
        return known[text]

    module.FormatCode = remembered
    try:
        yield
    finally:
        module.FormatCode = layout
