"""Parts that two papers or more share."""
