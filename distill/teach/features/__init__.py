"""Feature distillation, one file a method; `distill.teach.methods` lists them by name."""
