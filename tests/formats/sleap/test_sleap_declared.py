"""What .slp files say of their categories: nodes, edges and symmetries of each skeleton."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posetools.formats.declared import DeclaredCategory
from posetools.formats.options import ReadOptions
from posetools.formats.sleap import format as sleap
from tests.formats.sleap.test_sleap import needs_sleap, save

pytestmark = needs_sleap


def declared(source: Path, **options: Any) -> list[DeclaredCategory]:
    assert sleap.FORMAT.declared is not None
    return list(sleap.FORMAT.declared([source], ReadOptions(**options)))


def _edit(labels: Any, _: Any) -> None:
    (skeleton,) = labels.skeletons
    skeleton.add_edge("wingL", "wingR")
    skeleton.add_symmetry("wingL", "wingR")


def _as_sleap_names_it(labels: Any, _: Any) -> None:
    labels.skeletons[0].name = "Skeleton-0"


def test_nodes_edges_and_symmetries(tmp_path: Path) -> None:
    nodes = ("wingR", "wingL")
    file = save(tmp_path, _edit, nodes=nodes)
    fly = DeclaredCategory("car", nodes, str(file), links=((1, 0),), flip_idx=(1, 0))
    assert declared(tmp_path) == [fly]
    (other,) = declared(file, names={"car": "fly", "wingL": "left"}, ignore={"wingR"})
    assert (other.name, other.keypoints, other.links, other.flip_idx) == ("fly", ("left",), (), (0,))


def test_a_skeleton_without_a_name_and_symmetries(tmp_path: Path) -> None:
    """SLEAP numbers such skeletons; the number names no category."""
    (one,) = declared(save(tmp_path, _as_sleap_names_it, nodes=("a", "b")))
    assert (one.name, one.keypoints, one.links, one.flip_idx) == ("", ("a", "b"), (), None)
