"""Metrics with mergeable state, and result packages; numpy only."""
