"""How threads wait for each other: the settings that OpenMP itself prints."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.train

# A process that torch.distributed.run or a data loader starts inherits this setting.
_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import torch'], check=True)"


def _policies(program: str, **variables: str) -> list[str]:
    """Return the policy that each OpenMP library of the program prints, in load order."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"OMP_DISPLAY_ENV": "TRUE", **variables}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return [line.partition("= ")[2].strip("'") for line in done.stderr.splitlines() if "OMP_WAIT_POLICY" in line]


@pytest.mark.parametrize(
    "program", ["import posetools.mm.stack, torch", f"import posetools.mm; {_CHILD}"], ids=["here", "child"]
)
def test_waiting_threads_sleep_unless_the_user_says_otherwise(program: str) -> None:
    assert set(_policies(program)) == {"PASSIVE"}
    assert set(_policies(program, OMP_WAIT_POLICY="ACTIVE")) == {"ACTIVE"}
