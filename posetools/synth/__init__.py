"""Rendered cars with exact labels: a data set for the demo, for tests, and for trying recipes.

``dataset.render_set`` writes one to disk, ``rendering.render_random`` returns single images with labels. Parts of an
image: ``car`` (the model), ``scene`` (the layout), ``sample`` (random scenes), ``camera`` (visibility), ``paint``
(appearance). Requires only numpy and Pillow.
"""

from posetools.synth.dataset import render_set
from posetools.synth.sample import FULL_VARIETY, PLAIN, WIDEST, Variety

__all__ = ["FULL_VARIETY", "PLAIN", "WIDEST", "Variety", "render_set"]
