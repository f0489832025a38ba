"""Setup for all tests: those marked `train` need the OpenMMLab stack, which prints many warnings."""

from __future__ import annotations

import os
from collections.abc import Iterator

# The tests' arrays are tiny, so threads cost more than they gain, here and in processes that tests start. numpy and
# torch read this when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import Phase, settings

from posetools.mm.stack import missing_packages
from tests.fold_runs import both_kinds, critters
from tests.tiny_runs import det_run, pose_run, tiny

# Fixtures for every folder whose tests train.
__all__ = ["both_kinds", "critters", "det_run", "pose_run", "tiny"]

# For tests/mutation.py, which only needs to know whether a test fails, not its smallest example. On a busy machine a
# slow test is not a failed one.
settings.register_profile(
    "mutation", phases=(Phase.explicit, Phase.generate), derandomize=True, database=None, deadline=None
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("train"):
            item.add_marker(pytest.mark.filterwarnings("default"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not item.get_closest_marker("train"):
        return
    missing = missing_packages()
    if not missing:
        return
    reason = f"the train extra is not installed ({', '.join(missing)})"
    if os.environ.get("POSETOOLS_REQUIRE_TRAIN") == "1":
        pytest.fail(f"{reason}, and POSETOOLS_REQUIRE_TRAIN=1 requires it")
    pytest.skip(f"{reason}: make install")


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Dask cluster of two workers with two threads each; give its address."""
    pytest.importorskip("distributed", reason="distributed is not installed: the extra `cluster`")
    from tests.clustering import scheduler, workers

    folder = tmp_path_factory.mktemp("cluster")
    with scheduler(folder) as found, workers(found, folder, 2):
        yield found
