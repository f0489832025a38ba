"""The demo: a fit of rendered cars, and a prediction on a rendered clip. It needs no images and no labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posetools.errors import RequestError, must_be
from posetools.imaging.frames import open_sources
from posetools.pairs.pipeline import PosePipeline
from posetools.prediction.predict import PredictRequest, predict
from posetools.recipes.machine import count_cores
from posetools.synth import PLAIN, render_set
from posetools.synth.clip import render_clip
from posetools.workflow.fit import open_fit
from posetools.workflow.fit_folder import FitFolder
from posetools.workflow.fit_request import FitListener, FitRequest, FitResult

LABELME = "labelme"
FEWEST_IMAGES = 10
_SIZE = (320, 240)
_CLIP_FRAMES = 40


@dataclass(frozen=True, kw_only=True)
class DemoRequest:
    """The options of a demo.

    Attributes:
        fit: those of the fit; its source is the folder ``labelme`` in its ``out``.
        images: number of images to render.
        seed: of the images.
    """

    fit: FitRequest
    images: int = 400
    seed: int = 0


def demo(request: DemoRequest, listener: FitListener) -> FitResult:
    """Render cars, fit a pair on them, and predict on a rendered clip, or continue where an earlier call stopped.

    Args:
        request: the options.
        listener: receives progress.

    Raises:
        RequestError: a number is out of range.
        PosetoolsError: see ``posetools.workflow.fit.fit``.
    """
    if request.images < FEWEST_IMAGES:
        raise RequestError(must_be("--images", f"at least {FEWEST_IMAGES}", request.images))
    folder = FitFolder(request.fit.out)
    labels, clip, predicted = folder / LABELME, folder / "clip.mp4", folder / "clip"

    def render() -> Mapping[str, Any]:
        width, height = _SIZE
        run.say_step(f"render {request.images} images of cars, {width}x{height}, with labelme files")
        with listener.progress() as progress:
            render_set(
                labels,
                images=request.images,
                size=_SIZE,
                seed=request.seed,
                variety=PLAIN,
                workers=count_cores(),
                overwrite=True,
                progress=progress,
            )
        return {}

    def predict_clip() -> Mapping[str, Any]:
        bundle = folder.bundle
        run.say_step("predict on a rendered clip", "predict", clip, "--bundle", bundle, "--output-root", predicted)
        with listener.progress() as progress:
            render_clip(clip, frames=_CLIP_FRAMES, size=_SIZE, seed=request.seed, progress=progress)
            sources = open_sources([str(clip)])
            report = predict(PredictRequest(output_root=predicted), sources, PosePipeline.from_bundle(bundle), progress)
        return {"frames": report.images, "objects": report.objects}

    with open_fit(request.fit, listener) as run:
        run.once("render", [labels], render)
        run.fit()
        video = predicted / clip.name
        found = run.once("predict", [clip, video], predict_clip)
        cars = f"predictions on a clip: {found['objects']} cars in {found['frames']} frames"
        return run.finish({video: cars, labels: "the rendered images with their labelme files"})
