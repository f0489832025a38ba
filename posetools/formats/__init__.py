"""Annotation formats: one module each. A new one is its module, a line here, its test, its sample and its docs row."""

from posetools.formats import coco, custom, cvat, deeplabcut, label_studio, labelme, sleap, via, yolo_pose
from posetools.formats.base import Format

FORMATS: dict[str, Format] = {
    "labelme": labelme.FORMAT,
    "yolo-pose": yolo_pose.FORMAT,
    "coco": coco.FORMAT,
    "cvat": cvat.FORMAT,
    "label-studio": label_studio.FORMAT,
    "via": via.FORMAT,
    "deeplabcut": deeplabcut.FORMAT,
    "sleap": sleap.FORMAT,
    "custom": custom.FORMAT,
}
