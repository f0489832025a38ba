"""A fuzzer for everything that posetools reads: damaged valid sources end in success or in one clear sentence.

``python -m tests.fuzz`` runs campaigns, ``python -m tests.fuzz.guided`` runs one guided by the code's branches, and
tests/fuzz/test_fuzz.py runs a small sample with hypothesis, which shrinks failing cases.
"""
