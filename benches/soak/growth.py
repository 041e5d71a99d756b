"""Whether a program's use of something grows: its median in the second third of a load, compared
with its median in the last."""

import statistics

# How much each may grow: a share of itself, or this many, whichever is more. Memory varies with
# the collector and with caches that fill; descriptors and threads do not.
LIMITS = {
    "rss_mib": (0.10, 6.0),
    "fds": (0.05, 4),
    "threads": (0.0, 3),
    "goroutines": (0.15, 30),
}

FEWEST = 9


class Growth:
    def __init__(self, name, before, after, allowed):
        self.name, self.before, self.after, self.allowed = name, before, after, allowed

    @property
    def flat(self):
        return self.after - self.before <= self.allowed


def growth(name, values):
    """The first third is for warming up. Medians, so that one sample at an odd moment says
    nothing."""
    if len(values) < FEWEST:
        raise SystemExit(f"{len(values)} samples of {name} are too few to tell: let it run longer")
    third = len(values) // 3
    before, after = (
        statistics.median(values[third : 2 * third]),
        statistics.median(values[2 * third :]),
    )
    share, least = LIMITS[name.split(".")[-1]]
    return Growth(name, before, after, max(before * share, least))
