"""``posetools demo``: a fit of rendered cars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Output folder.")] = Path("demo"),
    minutes: Annotated[
        float | None,
        typer.Option(help="Time limit for training both models.", show_default="4; with random weights 7"),
    ] = None,
    images: Annotated[int, typer.Option(min=10, help="Number of images to render.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the images, the split and the training.")] = 0,
    pretrained: Annotated[
        Literal["coco", "imagenet", "starter", "none"],
        typer.Option(help="Initial weights, as for `posetools config`; none: random weights."),
    ] = "starter",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete the results of an earlier demo in --out, and start again.")
    ] = False,
) -> None:
    """Run `posetools fit` on rendered cars, from labelme files to a verified bundle, and predict on a clip.

    Each step prints its command. The same call again continues a stopped demo.
    """
    from posetools.cli.fit_steps import FitSteps, command_of, print_fit, typed_options
    from posetools.datasets.convert import ConvertRequest
    from posetools.recipes.machine import busy_text
    from posetools.workflow.demo import LABELME, DemoRequest
    from posetools.workflow.demo import demo as run
    from posetools.workflow.fit_request import FitRequest

    if minutes is None:
        minutes = 7.0 if pretrained == "none" else 4.0
    typed = typed_options({"--minutes": minutes, "--images": images, "--seed": seed, "--pretrained": pretrained})
    command = command_of("demo", None, {"--out": [str(out)], **typed}, yes=False)
    request = FitRequest(source=out / LABELME, out=out, minutes=minutes, pretrained=pretrained, seed=seed)
    # The names are numbered, but the images are not frames of a clip.
    conversion = ConvertRequest(sources=(), out=out, seed=seed, split_by="image")
    typed = {**typed, "--split-by": ["image"]}
    request = replace(request, conversion=conversion, typed=typed, command=command, overwrite=overwrite)
    steps = FitSteps(yes=True)
    if busy_text():
        steps.say(busy_text())
    print_fit(run(DemoRequest(fit=request, images=images, seed=seed), steps), command)
