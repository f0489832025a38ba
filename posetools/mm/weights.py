"""Weights of another model: what fits is loaded, and what does not is said before the run begins.

mmengine loads a checkpoint whose tensors fit in part, and writes what was left out into its log, where nobody sees
that a head began at random, or the whole model did. Here names and shapes are compared before the first iteration, for
``load_from`` and for every part with a pretrained ``init_cfg``, and the plan is told. ``WeightsHook`` then gives
mmengine just what was planned; for a run that is resumed every tensor has to fit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from posetools.core.stages import Stage
from posetools.errors import RequestError
from posetools.mm.checkpoint import load_checkpoint, load_from_url
from posetools.mm.configs import SCOPES, pretrained_parts
from posetools.mm.stack import RunHook, building

TensorShape: TypeAlias = tuple[int, ...]

# Modules that a sentence names before it only counts the others.
_NAMED_MODULES = 6
# A batch norm's count of batches: mmengine does not miss it either, old checkpoints have none.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class WeightsPlan:
    """Which tensors of a checkpoint go into a model.

    Attributes:
        source: the checkpoint, as the config names it.
        part: the part of the model that it is for, empty for the whole.
        fits: names of tensors that are loaded.
        reshaped: name, shape in the file, shape in the model: of what both have in different shapes.
        missing: names that only the model has: they stay as they were initialized.
        unused: names that only the file has.
    """

    source: str
    part: str
    fits: tuple[str, ...]
    reshaped: tuple[tuple[str, TensorShape, TensorShape], ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def differences(self) -> tuple[str, ...]:
        """Return a sentence for each kind of tensor that is not loaded; none where file and model have the same."""
        lines = []
        if self.reshaped:
            lines.append(f"of another shape, so left out: {_listed(_reshaped(self.reshaped))}")
        if self.missing:
            lines.append(f"not in the file, so as initialized: {_listed(_modules(self.missing))}")
        if self.unused:
            lines.append(f"not in the model, so unused: {_listed(_modules(self.unused))}")
        return tuple(lines)

    @property
    def text(self) -> str:
        """Return the plan in a few lines."""
        total = len(self.fits) + len(self.reshaped) + len(self.missing)
        part = f" of {self.part}" if self.part else ""
        return "\n  ".join([f"weights {self.source}: {len(self.fits)} of {total} tensors{part} fit", *self.differences])


def plan_weights(source: str, part: str, model: Mapping[str, Any], offered: Mapping[str, Any]) -> WeightsPlan:
    """Compare names and shapes of two state dicts."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.items() if not name.endswith(_COUNTER)}
    given = {name: tuple(tensor.shape) for name, tensor in offered.items() if not name.endswith(_COUNTER)}
    both = [name for name in wanted if name in given]
    return WeightsPlan(
        source=source,
        part=part,
        fits=tuple(name for name in both if wanted[name] == given[name]),
        reshaped=tuple((name, given[name], wanted[name]) for name in both if wanted[name] != given[name]),
        missing=tuple(name for name in wanted if name not in given),
        unused=tuple(name for name in given if name not in wanted),
    )


def tensors_of(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's tensors by name, without the prefix that a distributed model adds."""
    import torch

    state = checkpoint.get("state_dict", checkpoint)
    return {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, torch.Tensor)}


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """Where a config takes weights from.

    Attributes:
        place: what says so in the config.
        source: a file, or a URL.
        part: the part of the model that they are for, empty for the whole.
        prefix: of their names in the file.
    """

    place: str
    source: str
    part: str = ""
    prefix: str = ""

    def load(self, say: Callable[[str], None]) -> Mapping[str, Any] | None:
        """Return the checkpoint; None for mmengine's own schemes (torchvision://, open-mmlab://), which are left to it.

        Raises:
            RequestError: the address is out of reach.
            InputError: it is no checkpoint, or holds more than weights.
        """
        if self.source.startswith(("http://", "https://")):
            say(f"weights: {self.source} (downloaded once, into torch's cache)")
            return load_from_url(self.source, progress=False)
        return None if "://" in self.source else load_checkpoint(self.source)


def weights_sources(config: Any) -> Iterator[WeightsSource]:
    """Give where a config takes weights from: for the whole model, and for parts of it."""
    if config.get("load_from"):
        yield WeightsSource("load_from", str(config.load_from))
    for path, part in pretrained_parts(config.model):
        if part["init_cfg"].get("checkpoint"):
            init = part["init_cfg"]
            yield WeightsSource("init_cfg.checkpoint", str(init["checkpoint"]), path, init.get("prefix") or "")


def check_weights(
    config: Any, stage: Stage, given: Mapping[WeightsSource, Mapping[str, Any]], say: Callable[[str], None]
) -> Iterator[str]:
    """Give a sentence for every checkpoint of which nothing fits the model; of the others say what is loaded.

    Args:
        config: as it is to be run. With ``resume`` its checkpoint is left to ``WeightsHook``.
        stage: which of the two models it is of.
        given: the checkpoints.
        say: takes the plans.

    Raises:
        RunError: the model cannot be built.
    """
    from mmengine.registry import MODELS

    checked = [one for one in given if one.part or not config.get("resume")]
    if not checked:
        return
    with building(f"{config.filename}: the model", SCOPES[stage]):
        model = MODELS.build(copy.deepcopy(config.model)).state_dict()
    for one in checked:
        wanted, offered = _inside(model, one.part), _inside(tensors_of(given[one]), one.prefix.rstrip("."))
        plan = plan_weights(one.source, one.part, wanted, offered)
        if not plan.fits:
            yield _nothing_fits(plan, wanted)
        else:
            say(plan.text)


def _nothing_fits(plan: WeightsPlan, wanted: Mapping[str, Any]) -> str:
    what = f"{plan.part} of the model" if plan.part else "the model"
    first, other = next(iter(wanted), "none"), next(iter(plan.unused), "none")
    shape = f"; {_listed(_reshaped(plan.reshaped))}" if plan.reshaped else ""
    return (
        f"{plan.source}: none of its tensors fits {what}, "
        f"whose first is {first}, while the file's first other one is {other}{shape}"
    )


def _inside(tensors: Mapping[str, Any], path: str) -> dict[str, Any]:
    if not path:
        return dict(tensors)
    return {name.removeprefix(f"{path}."): value for name, value in tensors.items() if name.startswith(f"{path}.")}


class WeightsHook(RunHook):
    """Loads strictly: what fits when starting, all or nothing when resuming."""

    # EMAHook takes its copy from the checkpoint as well, after this one.
    priority = "VERY_HIGH"

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Refuse what does not fit, or leave it out.

        Raises:
            RequestError: a run to resume is of another model.
        """
        from mmengine.model import is_model_wrapper

        model = (runner.model.module if is_model_wrapper(runner.model) else runner.model).state_dict()
        offered, source = tensors_of(checkpoint), str(runner.cfg.load_from)
        plan = plan_weights(source, "", model, offered)
        if not runner.cfg.get("resume"):
            fits = {*plan.fits, *(name for name in offered if name.endswith(_COUNTER))}
            # With the model's own tensors for all others, every later step loads without leaving anything out.
            checkpoint["state_dict"] = {
                name: offered[name] if name in fits and name in offered else tensor.clone()
                for name, tensor in model.items()
            }
        elif plan.differences:
            lines = (
                f"{source}: cannot be resumed: it is of another model than {runner.cfg.filename}",
                *plan.differences,
                "resume with the config of the run; or start a new run with --weights and this checkpoint",
            )
            raise RequestError("\n  ".join(lines))


def _reshaped(entries: Sequence[tuple[str, TensorShape, TensorShape]]) -> list[str]:
    shown: dict[str, str] = {}
    for name, given, wanted in entries:
        module = name.rpartition(".")[0] or name
        # A bias has the shape that its module's weight shows already.
        shown.setdefault(module, f"{module} ({_change(given, wanted)})")
    return list(shown.values())


def _change(given: TensorShape, wanted: TensorShape) -> str:
    different = [(one, other) for one, other in zip(given, wanted, strict=False) if one != other]
    if len(given) == len(wanted) and len(different) == 1:
        return f"{different[0][0]} -> {different[0][1]}"
    return f"{'x'.join(map(str, given))} -> {'x'.join(map(str, wanted))}"


def _modules(names: Sequence[str]) -> list[str]:
    """Return the modules of tensors; when there are many, what they lie in."""
    modules = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    for depth in (3, 2, 1):
        if len(modules) <= _NAMED_MODULES:
            break
        modules = list(dict.fromkeys(".".join(module.split(".")[:depth]) for module in modules))
    return modules


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _NAMED_MODULES} more" if len(texts) > _NAMED_MODULES else ""
    return ", ".join(texts[:_NAMED_MODULES]) + more
