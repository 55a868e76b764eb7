"""What is due by the clock: often at first, more seldom as a work goes on, and never so often that it costs much."""

import time


class Pace:
    """Whether a repeated thing is due: after `least` seconds, later after a tenth of the time that the work has taken,
    but after `most` seconds in any case, unless it took more than a twentieth of them itself."""

    def __init__(self, least: float, most: float) -> None:
        self.least, self.most, self.took = least, most, 0.0
        self.began = self.last = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds that the work has taken so far."""
        return time.monotonic() - self.began

    def due(self) -> bool:
        now = time.monotonic()
        return now - self.last >= max(min(max(self.least, (self.last - self.began) / 10), self.most), 20 * self.took)

    def done(self, took: float = 0.0) -> None:
        """It has just been done, in `took` seconds."""
        self.last, self.took = time.monotonic(), took
