"""Data sets: where they come from, how they are split, stored and served as batches."""
