"""Rendered cars with exact labels: a data set for the demo, for tests, and for trying out recipes.

``dataset.render_set`` writes one to disk, ``picture.render_random`` gives single pictures. What a picture is made of:
``car`` (the model) and ``sample_car`` (random ones), ``scene`` (what is where) and ``sample`` and ``things`` (random
ones), ``camera``, ``raster`` (what is seen), ``paint`` (how it looks), ``labels``. numpy and Pillow, nothing else.
"""

from posetools.synth.dataset import render_set
from posetools.synth.sample import FULL, PLAIN, Variety

__all__ = ["FULL", "PLAIN", "Variety", "render_set"]
