"""OpenMMLab, as far as everybody needs it; torch and its stack are imported inside functions only."""

import os

# OpenMP reads this when torch loads it, and every import of torch here comes after this line. By default its threads
# spin while they wait for each other, which takes the time of the very thread they wait for where other programs keep
# the cores busy: training is 7 times as slow then, predicting 13 times (benchmarks/threads.py). Processes that are
# started from here inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
