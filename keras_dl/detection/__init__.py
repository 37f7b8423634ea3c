"""Object detectors: boxes, anchors, matching and metrics, and one file per architecture."""

ARCHITECTURES = ("single_object", "sliding_windows", "ssd", "yolo_v1", "yolo_v2", "yolo_v3", "yolo_v4", "yolo_v5")
