"""Write a data set of rendered cars as labelme files: as if labeled by a person, but exact.

The images are ``car_0001.jpg``, ... with a JSON file next to each. Every image has its own seed, made from the set's
seed and the image's number: the first hundred images of a set of a thousand equal a set of a hundred with that seed.
"""

from __future__ import annotations

import io
import shutil
from functools import partial
from pathlib import Path

import numpy as np

from posetools.core.dataset import Dataset, DatasetBuilder, Image
from posetools.core.place import Origin
from posetools.core.skeleton import load_skeleton
from posetools.errors import RequestError, must_be
from posetools.files.disk import staged_folder
from posetools.formats.labelme.format import write as write_labelme
from posetools.progress import Progress, silent
from posetools.scale.shards import engine_for
from posetools.synth.rendering import CarLabel, render_random
from posetools.synth.sample import FULL_VARIETY, Variety

_SMALLEST_SIDE = 64


def render_set(
    out: Path,
    *,
    images: int,
    size: tuple[int, int],
    seed: int,
    variety: Variety = FULL_VARIETY,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Dataset:
    """Render images of cars with exact labels into a folder of labelme files; return them as a Dataset.

    The same arguments give the same bytes, with any number of workers.

    Args:
        out: the folder to write, as a whole or not at all.
        images: number of images, each with one to as many cars as ``variety`` allows.
        size: their (width, height) in pixels.
        seed: another seed gives other images.
        variety: how much they differ from each other.
        workers: number of rendering processes.
        overwrite: replace the contents of ``out``.
        progress: receives progress.

    Raises:
        RequestError: ``out`` is not empty, or a number is out of range.
        OutputError: something cannot be written.
        RunError: a worker process was ended from outside.
    """
    if images < 1:
        raise RequestError(must_be("images", "at least 1", images))
    if min(size) < _SMALLEST_SIDE:
        raise RequestError(must_be("size", f"at least {_SMALLEST_SIDE} pixels on both sides", size))
    if seed < 0:
        raise RequestError(must_be("seed", "0 or more", seed))
    digits = max(4, len(str(images)))
    builder = DatasetBuilder(load_skeleton("car8"))
    with staged_folder(out, overwrite=overwrite) as folder:
        # The writer copies the images to their final place, as usual.
        rendered = folder / ".rendered"
        rendered.mkdir()
        work = partial(_render, size=size, seed=seed, variety=variety)
        for number, (data, labels) in enumerate(engine_for(workers).run(work, range(images))):
            name = f"car_{number + 1:0{digits}d}.jpg"
            (rendered / name).write_bytes(data)
            builder.add_image(Image(name, *size, path=rendered / name))
            for i, label in enumerate(labels):
                builder.add_instance(name, box=label.box, keypoints=label.keypoints, origin=Origin(name, f"car {i}"))
            progress("rendering cars", number + 1, images)
        dataset = builder.build()
        write_labelme({"all": dataset}, folder, "copy")
        shutil.rmtree(rendered)
    return dataset.with_images([Image(image.file_name, *size, path=out / image.file_name) for image in dataset.images])


def _render(number: int, *, size: tuple[int, int], seed: int, variety: Variety) -> tuple[bytes, tuple[CarLabel, ...]]:
    rendered = render_random(np.random.default_rng([seed, number]), size, load_skeleton("car8"), variety)
    buffer = io.BytesIO()
    rendered.image.save(buffer, format="JPEG", quality=95, subsampling=0)
    return buffer.getvalue(), rendered.labels
