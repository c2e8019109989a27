"""Statistics on arrays of points: rank correlation, regret, the noise ceiling, and their bootstrap intervals."""
