"""The whole suite in one install, under AIToolbox's import paths."""
