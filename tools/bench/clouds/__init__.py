"""Helpers of ``tools/bench/cloud.py``: a server, the clients, and one process for each turn."""
