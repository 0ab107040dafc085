"""What is kept: cells, the records of their results, checkpoints."""
