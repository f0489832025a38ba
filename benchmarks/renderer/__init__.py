"""Rendered cars with exact labels, by a renderer that shares no code with posetools.synth.

A recipe that is good for the product's own cars must be good for these too: another car (``car``), other objects and
cameras (``scene``), other backgrounds (``backdrop``), other light (``light``), and another way to draw (``view``).

    python -m benchmarks.renderer --images 300 --seed 1 --out FOLDER
"""

from benchmarks.renderer.render import Rendered, render, write_images

__all__ = ["Rendered", "render", "write_images"]
