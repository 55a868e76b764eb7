"""Classifiers, how they are fooled, and what can be done about it. Images here are in [0, 1]."""
