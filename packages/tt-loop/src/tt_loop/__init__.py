"""A Keras-style train loop for PyTorch at the cost of the bare loop."""
