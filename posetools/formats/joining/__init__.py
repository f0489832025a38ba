"""From shapes to objects: assigns points to boxes for labelme, CVAT, Label Studio and VIA."""
