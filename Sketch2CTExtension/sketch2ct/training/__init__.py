"""Training: one loop (`loop.py`) for all recipes, one file a stage. Needs the extra `train`."""
