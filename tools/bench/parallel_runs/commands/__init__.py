"""Programs whose starts `parallel.py --case start` compares: each as a user writes it."""
