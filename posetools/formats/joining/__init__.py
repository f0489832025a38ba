"""From shapes to objects: which points belong to which box, in labelme, CVAT, Label Studio and VIA."""
