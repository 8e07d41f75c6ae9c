"""What `tools/bench/experiment.py` compares: ways of saving, of logging, and lists of runs."""
