"""Where rows come from: search runs, checkpoints, models of the zoo, network files, and measured latencies."""
