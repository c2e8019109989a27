"""Studies of several trainings: controls with and without a teacher, chains of teachers."""
