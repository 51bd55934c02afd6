"""What a data set gives away before any detector is asked: duplicates, leaks, shortcuts."""
