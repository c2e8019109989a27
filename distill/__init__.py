"""How a detector learns: data, tasks, losses, distillation. Filled by the training and distillation issues."""
