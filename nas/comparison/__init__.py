"""What was found beside what could have been picked: rows from everywhere, fronts, and one page of them."""
