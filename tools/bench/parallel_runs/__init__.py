"""What `tools/bench/parallel.py` compares: one function each, one file per library."""
