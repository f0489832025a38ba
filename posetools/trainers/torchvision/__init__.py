"""torchvision's Keypoint R-CNN: one small network for boxes and keypoints, without OpenMMLab."""
