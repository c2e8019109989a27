"""How a detector learns: data, tasks, the loop, evaluation; distillation is to come."""
