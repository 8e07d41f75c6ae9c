"""Training: the train loop, models, callbacks and devices."""
