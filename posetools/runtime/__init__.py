"""Bundles: a trained pair as two ONNX files in a zip, run with numpy, OpenCV and onnxruntime, without OpenMMLab."""
