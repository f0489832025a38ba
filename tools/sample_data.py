"""Writes the sample set, the same rendered cars in every format, and the configs for it.

``python -m tools.sample_data`` from the repository's folder rewrites data/ and configs/.
tests/test_sample.py holds them together: each format reads to the same objects, and the configs are as emitted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from posetools.core.skeleton import load_skeleton
from posetools.datasets.convert import ConvertRequest, convert
from posetools.formats import FORMATS
from posetools.formats.options import ReadOptions
from posetools.recipes.emit import emit_pair
from posetools.recipes.machine import GIB, Gpu, Machine
from posetools.recipes.options import RecipeOptions
from posetools.synth import render_set

DATA = Path("data")
CONFIGS = Path("configs")
# The machine for the sample configs, so that they do not depend on this one.
REFERENCE = Machine(8, (Gpu("a GPU", 24 * GIB),))


def main() -> None:
    """Write everything; images only with --images, because their bytes depend on Pillow's JPEG encoder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", action="store_true", help="render the images again")
    if parser.parse_args().images:
        render_set(DATA / "labelme", images=8, size=(320, 240), seed=21, overwrite=True)
    for name in ("coco", "yolo-pose", "cvat", "label-studio", "via", "deeplabcut"):
        request = ConvertRequest(
            sources=(DATA / "labelme",),
            out=DATA / name,
            target_format=name,
            val=0.25 if FORMATS[name].keeps_splits else None,
            overwrite=True,
            read=ReadOptions(),
        )
        convert(request)
    emit_pair(DATA / "coco", load_skeleton("car8"), RecipeOptions(), CONFIGS, overwrite=True, machine=REFERENCE)


if __name__ == "__main__":
    main()
