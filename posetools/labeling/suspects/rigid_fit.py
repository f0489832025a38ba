"""How well objects fit the skeleton's template, as labeled and as they would be corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posetools.checks.rigid.fit import fit
from posetools.checks.rigid.geometry import LEAST_POINTS, study, views_of
from posetools.checks.rigid.template import Body, rigid
from posetools.core.dataset import Dataset
from posetools.core.geometry import Floats, Ints
from posetools.progress import Progress

# The template is a mean of many objects, so that no fit is proof: log of the largest ratio.
_MOST_RATIO = 5.0


@dataclass(frozen=True, eq=False, slots=True)
class RigidFit:
    """The fits of N labeled objects.

    Attributes:
        template: the rigid object; None: the skeleton has none, and nothing is known.
        truth: the labels.
        sizes: (N, 2) width and height of each object's image.
        noise: how much more coarsely than assumed the points are labeled.
        misfit: (N,) twice the negative log likelihood as labeled; NaN without a fit.
    """

    template: Body | None
    truth: Dataset
    sizes: Floats
    noise: float
    misfit: Floats

    @classmethod
    def of(cls, truth: Dataset, progress: Progress) -> RigidFit:
        """Return the fits of all objects of one category."""
        template = rigid(truth.skeleton)
        sizes = np.array([image.size for image in truth.images], dtype=np.float64).reshape(-1, 2)[truth.image_index]
        if template is None or not len(truth):
            return cls(None, truth, sizes, 1.0, np.full(len(truth), np.nan))
        found = study(template, truth.keypoints, truth.boxes, sizes, progress)
        return cls(template, truth, sizes, found.noise, found.misfit)

    def ratio(self, rows: Ints, keypoints: Floats) -> Floats:
        """Return (R,) the log likelihood of corrected labels minus that of the labels; 0 where geometry cannot tell.

        Args:
            rows: R objects.
            keypoints: (R, K, 3) their corrected labels.
        """
        told = np.zeros(len(rows))
        known = np.isfinite(self.misfit[rows]) & ((keypoints[:, :, 2] > 0).sum(axis=1) >= LEAST_POINTS)
        if self.template is None or not known.any():
            return told
        some = rows[known]
        views = views_of(keypoints[known], self.truth.boxes[some], self.sizes[some], self.noise)
        hidden_used = bool((self.truth.keypoints[:, :, 2] == 1).any())
        corrected = fit(self.template, views, visibility=hidden_used).misfit
        told[known] = np.clip((self.misfit[some] - corrected) / 2, -_MOST_RATIO, _MOST_RATIO)
        return told
