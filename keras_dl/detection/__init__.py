"""Object detectors: boxes, anchors, matching and metrics, and one file per architecture."""

ARCHITECTURES = ("yolo_v2", "yolo_v3", "yolo_v4", "yolo_v5")
