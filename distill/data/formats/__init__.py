"""Readers of COCO JSON, YOLO text and Pascal VOC data sets."""
