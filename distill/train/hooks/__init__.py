"""What a training run does beside its steps, one hook a file. ``distill.train.run.train`` lists them in order."""
