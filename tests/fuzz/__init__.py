"""A fuzzer of everything that posetools reads: valid sources, damaged, end in success or in one clear sentence.

``python -m tests.fuzz`` runs campaigns, ``python -m tests.fuzz.guided`` one that follows the code's branches, and
tests/fuzz/test_fuzz.py a small sample with hypothesis, which shrinks what it finds.
"""
