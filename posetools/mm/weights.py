"""Load the matching weights of another model, and report the others before the run starts.

mmengine loads a checkpoint even if only part of its tensors match, and mentions the others only in its log. A head, or
the whole model, may start from random weights unnoticed. posetools compares names and shapes before the first
iteration, for ``load_from`` and for every part with a pretrained ``init_cfg``, and prints the plan. ``WeightsHook``
then passes mmengine exactly the planned tensors; for a resumed run every tensor must match.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from posetools.core.stages import Stage
from posetools.errors import RequestError, quoted
from posetools.mm.checkpoint import load_checkpoint, load_from_url
from posetools.mm.configs import SCOPES, data_root_of, pretrained_parts
from posetools.mm.stack import RunHook, building
from posetools.recipes.starter import STARTER_SIZES, STARTERS

TensorShape: TypeAlias = tuple[int, ...]

# Modules that a message names before it only counts the others.
_NAMED_MODULES = 6
# A batch norm's count of batches. Old checkpoints have none, and mmengine does not require it either.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class WeightsPlan:
    """Which tensors of a checkpoint a model loads.

    Attributes:
        source: the checkpoint, as the config names it.
        part: the part of the model that it is for, empty for the whole.
        fits: names of tensors that are loaded.
        reshaped: name, shape in the file, shape in the model, where the shapes differ.
        missing: names that only the model has: they keep their initial values.
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
        """Return a line for each reason why tensors are not loaded; empty if file and model match."""
        lines = []
        if self.reshaped:
            lines.append(f"different shape, not loaded: {_listed(_reshaped(self.reshaped))}")
        if self.missing:
            lines.append(f"not in the file, newly initialized: {_listed(_modules(self.missing))}")
        if self.unused:
            lines.append(f"not in the model, unused: {_listed(_modules(self.unused))}")
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
    """A source of weights in a config.

    Attributes:
        place: its key in the config.
        source: a file, or a URL.
        part: the part of the model that they are for, empty for the whole.
        prefix: the prefix of their names in the file.
    """

    place: str
    source: str
    part: str = ""
    prefix: str = ""

    def load(self, say: Callable[[str], None]) -> Mapping[str, Any] | None:
        """Return the checkpoint; None for mmengine's own schemes (torchvision://, open-mmlab://): it loads those.

        Raises:
            RequestError: the URL cannot be reached.
            InputError: it is not a checkpoint, or holds more than weights.
        """
        if self.source.startswith(("http://", "https://")):
            say(f"weights: {self.source} (downloaded once to torch's cache)")
            return load_from_url(self.source, progress=False)
        return None if "://" in self.source else load_checkpoint(self.source)


def fits_starter(config: Any, stage: Stage) -> bool:
    """Return whether a config's model has the size of the starter weights."""
    backbone = config.model.get("backbone") or {}
    return (backbone.get("deepen_factor"), backbone.get("widen_factor")) == STARTERS[stage].scale


def starter_file(config: Any, stage: Stage) -> str:
    """Return the file of the starter weights for a config.

    Raises:
        RequestError: its model has another size.
    """
    if not fits_starter(config, stage):
        starter, data = STARTERS[stage], quoted(data_root_of(config))
        raise RequestError(
            f"{config.filename}: its model must be {starter.model}-{starter.size} for --weights starter, got another "
            f"size\n  write a config for it: posetools config {data} {STARTER_SIZES} --pretrained starter"
        )
    return str(STARTERS[stage].path)


def weights_sources(config: Any) -> Iterator[WeightsSource]:
    """Yield the sources of weights in a config: for the whole model, and for parts of it."""
    if config.get("load_from"):
        yield WeightsSource("load_from", str(config.load_from))
    for path, part in pretrained_parts(config.model):
        if part["init_cfg"].get("checkpoint"):
            init = part["init_cfg"]
            yield WeightsSource("init_cfg.checkpoint", str(init["checkpoint"]), path, init.get("prefix") or "")


def check_weights(
    config: Any, stage: Stage, given: Mapping[WeightsSource, Mapping[str, Any]], say: Callable[[str], None]
) -> Iterator[str]:
    """Yield a message for every checkpoint without a matching tensor; pass the plan of the others to ``say``.

    Args:
        config: the final config of the run. With ``resume``, ``WeightsHook`` checks its checkpoint.
        stage: the stage of the model.
        given: the checkpoints.
        say: receives the plans.

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
        f"{plan.source}: none of its tensors fits {what}: "
        f"the first of the model is {first}, the first unused one of the file is {other}{shape}"
    )


def _inside(tensors: Mapping[str, Any], path: str) -> dict[str, Any]:
    if not path:
        return dict(tensors)
    return {name.removeprefix(f"{path}."): value for name, value in tensors.items() if name.startswith(f"{path}.")}


class WeightsHook(RunHook):
    """Loads the matching tensors at a start, all or nothing at a resume."""

    # EMAHook also copies from the checkpoint, after this hook.
    priority = "VERY_HIGH"

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Refuse tensors that do not match, or leave them out.

        Raises:
            RequestError: the run to resume has another model.
        """
        from mmengine.model import is_model_wrapper

        model = (runner.model.module if is_model_wrapper(runner.model) else runner.model).state_dict()
        offered, source = tensors_of(checkpoint), str(runner.cfg.load_from)
        plan = plan_weights(source, "", model, offered)
        if not runner.cfg.get("resume"):
            fits = {*plan.fits, *(name for name in offered if name.endswith(_COUNTER))}
            # The model's own tensors fill the gaps, so every later step loads a complete state dict.
            checkpoint["state_dict"] = {
                name: offered[name] if name in fits and name in offered else tensor.clone()
                for name, tensor in model.items()
            }
        elif plan.differences:
            lines = (
                f"{source}: cannot be resumed: its model differs from {runner.cfg.filename}",
                *plan.differences,
                "resume with the config of the run, or start a new run from this checkpoint with --weights",
            )
            raise RequestError("\n  ".join(lines))


def _reshaped(entries: Sequence[tuple[str, TensorShape, TensorShape]]) -> list[str]:
    shown: dict[str, str] = {}
    for name, given, wanted in entries:
        module = name.rpartition(".")[0] or name
        # The weight already shows the shape of its module's bias.
        shown.setdefault(module, f"{module} ({_change(given, wanted)})")
    return list(shown.values())


def _change(given: TensorShape, wanted: TensorShape) -> str:
    different = [(one, other) for one, other in zip(given, wanted, strict=False) if one != other]
    if len(given) == len(wanted) and len(different) == 1:
        return f"{different[0][0]} -> {different[0][1]}"
    return f"{'x'.join(map(str, given))} -> {'x'.join(map(str, wanted))}"


def _modules(names: Sequence[str]) -> list[str]:
    """Return the modules of tensors; if there are many, their parent modules."""
    modules = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    for depth in (3, 2, 1):
        if len(modules) <= _NAMED_MODULES:
            break
        modules = list(dict.fromkeys(".".join(module.split(".")[:depth]) for module in modules))
    return modules


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _NAMED_MODULES} more" if len(texts) > _NAMED_MODULES else ""
    return ", ".join(texts[:_NAMED_MODULES]) + more
