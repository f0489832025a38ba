"""The only part of posetools that imports torch and OpenMMLab, and only inside functions."""
