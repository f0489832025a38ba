"""A bundle, opened: its manifest, its detector and its pose estimator."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from posetools.errors import PosetoolsWarning
from posetools.imaging.header import Picture
from posetools.runtime.archive import Archive, write_bundle
from posetools.runtime.backend import require_runtime
from posetools.runtime.manifest import Manifest, Sample
from posetools.runtime.networks import OnnxDetector, OnnxEstimator

__all__ = ["Bundle", "write_bundle"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose networks are ready to run.

    Attributes:
        path: the zip.
        manifest: what it says about itself.
        detector: finds the boxes.
        estimator: finds the keypoints in them.
    """

    path: Path
    manifest: Manifest
    detector: OnnxDetector
    estimator: OnnxEstimator
    _archive: Archive

    @classmethod
    def open(cls, path: Path | str, device: str = "auto", *, score_thr: float | None = None) -> Bundle:
        """Open a bundle.

        Args:
            path: the zip.
            device: ``auto`` (a GPU, if onnxruntime can use one), ``cpu``, ``cuda`` or ``cuda:N``.
            score_thr: the detector leaves out boxes below this score, besides those that the manifest leaves out;
                prediction, which shows no others, is faster by it.

        Raises:
            MissingExtraError: the ``runtime`` extra is not installed.
            RequestError: the device is not there.
            InputError: the file is no bundle, is damaged, or holds what a bundle may not.
        """
        path = Path(path)
        require_runtime(f"running {path}")
        archive = Archive.open(path)
        if archive.manifest.doubt:
            warnings.warn(f"{path}: {archive.manifest.doubt}", PosetoolsWarning, stacklevel=2)
        det, pose = archive.manifest.networks
        return cls(
            path,
            archive.manifest,
            OnnxDetector(archive.network(det), det, device, source=path, score_thr=score_thr),
            OnnxEstimator(archive.network(pose), pose, device, source=path),
            archive,
        )

    def sample_pictures(self) -> list[tuple[Sample, Picture]]:
        """Return the samples and their pictures.

        Raises:
            InputError: one cannot be read.
        """
        return self._archive.sample_pictures()
