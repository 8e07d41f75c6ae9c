"""Bytes between files and a `Remote`: retried, in parts, verified, and resumed after a kill."""
