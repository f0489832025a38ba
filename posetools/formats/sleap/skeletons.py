"""Which of the skeletons in a .slp file are the one that is read: those with nodes that it has.

A file may have one skeleton for flies and another for mice. Those that have none of the keypoints are an error until
the user leaves them out, by ``--ignore NAME`` or by ``--categories`` with the names of those to take.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posetools.core.findings import Finding
from posetools.core.skeleton import Skeleton
from posetools.formats.base import ReadOptions

# Nodes that a message lists.
_LISTED = 6


@dataclass(frozen=True, slots=True)
class Skeletons:
    """Sorts the skeletons of a file.

    Attributes:
        file: the file, for the finding.
        skeleton: the skeleton that is read.
        options: the user's options.
    """

    file: str
    skeleton: Skeleton
    options: ReadOptions

    def sort(self, labels: Any) -> tuple[Mapping[int, str], list[Finding]]:
        """Return the skeletons that are not read, and the finding for those that nobody left out on purpose.

        Args:
            labels: sleap-io's Labels.

        Returns:
            The ``id`` of a skeleton -> the name to count its instances by, empty for those in the finding.
        """
        times = Counter(
            id(one.skeleton)
            for frame in labels.labeled_frames
            for one in frame.instances
            if type(one).__name__ != "PredictedInstance"
        )
        used = {id(one): one for one in labels.skeletons if times[id(one)]}
        names = {key: str(one.name or f"skeletons[{labels.skeletons.index(one)}]") for key, one in used.items()}
        wanted = set(self.options.categories or ()) & set(names.values())
        others = {
            key: name for key, name in names.items() if name in self.options.ignore or (wanted and name not in wanted)
        }
        rest = [key for key in used if key not in others]
        foreign = [key for key in rest if not self._fits(used[key])]
        if not foreign or len(foreign) == len(rest):
            # Where none fits, each of their nodes is told.
            return others, []
        listed = "; ".join(
            f"{names[key]!r} with {', '.join(self._nodes(used[key])[:_LISTED])} ({times[key]} instances left out)"
            for key in foreign
        )
        fitting = list(dict.fromkeys(names[key] for key in rest if key not in foreign))
        ignore = " ".join(f"--ignore {shlex.quote(names[key])}" for key in foreign)
        message = f"a skeleton of the file must have keypoints of skeleton {self.skeleton.name}, got {listed}"
        hint = f"{ignore} leaves them out"
        if len(fitting) == 1:
            hint += f"; so does --categories {shlex.quote(fitting[0])}"
        finding = Finding("E301", self.file, "skeletons", message, hint)
        return others | dict.fromkeys(foreign, ""), [finding]

    def _nodes(self, one: Any) -> list[str]:
        return [str(node.name) for node in one.nodes]

    def _fits(self, one: Any) -> bool:
        known = self.skeleton.index
        return any(
            self.options.names.get(name, name) in known or name in self.options.ignore for name in self._nodes(one)
        )
