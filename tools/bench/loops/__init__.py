"""The loops that `tools/bench/loop.py` compares: one function each, one file per library."""
