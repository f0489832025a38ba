"""Annotation formats: one module each. A new one is its module, a line here, its test, its sample and its docs row."""

from posetools.formats import coco, labelme, yolo_pose
from posetools.formats.base import Format

FORMATS: dict[str, Format] = {
    "labelme": labelme.FORMAT,
    "yolo-pose": yolo_pose.FORMAT,
    "coco": coco.FORMAT,
}
