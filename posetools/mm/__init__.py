"""Everything shared that touches OpenMMLab; torch and its stack are imported inside functions only."""

import os

# OpenMP reads this when torch loads it, and every import of torch here comes after this line. By default its threads
# spin while they wait for each other. When other programs keep the cores busy, spinning takes time from the thread
# being waited for: training is 7 times slower, prediction 13 times (benchmarks/threads.py). Child processes inherit
# this setting.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
