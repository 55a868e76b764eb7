"""One paper, one file: networks, initialisation, losses, sampling, in that order."""
