"""Experiment folders, crash-safe checkpoints and reports for PyTorch training."""
