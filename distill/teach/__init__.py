"""Distillation: teachers, feature and response methods, loss balance and the teacher cache."""
