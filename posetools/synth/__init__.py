"""Rendered cars with exact labels: a data set for the demo, for tests, and for trying out recipes.

``dataset.render_set`` writes one to disk, ``image.render_random`` gives single images with their labels. What a
image is made of: ``car`` (the model), ``scene`` (what is where), ``sample`` (random ones), ``camera`` (what is seen),
``paint`` (how it looks). numpy and Pillow, nothing else.
"""

from posetools.synth.dataset import render_set
from posetools.synth.sample import FULL_VARIETY, PLAIN, Variety

__all__ = ["FULL_VARIETY", "PLAIN", "Variety", "render_set"]
