"""Conversions between Graphs, torch modules and ONNX files."""
