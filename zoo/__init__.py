"""What was built: torch modules, and the doors that lead from modules and files to a Graph."""
