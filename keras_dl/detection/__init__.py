"""Object detectors: boxes, anchors, matching and metrics, and one file per architecture."""

ARCHITECTURES = ("yolo_v5",)
