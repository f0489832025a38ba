from __future__ import annotations

from posetools.recipes.machine import Gpu, Machine
from posetools.recipes.options import RecipeOptions
from posetools.recipes.sizes import sizes_for


def test_a_cpu_trains_the_smallest_models_and_a_gpu_those_of_config() -> None:
    assert sizes_for(Machine(2))[:2] == ("tiny", "t")
    options = RecipeOptions()
    assert sizes_for(Machine(2, (Gpu("A"),)))[:2] == (options.det.size, options.pose.size)
