"""Whether something has grown: what a program took in the second third of a load against what it
took in the last."""

import statistics

# What is held to staying where it is, and by how much of itself and how much in all it may yet
# move. Memory breathes with the collector and with caches that fill; descriptors and threads do
# not.
LIMITS = {
    "rss_mib": (0.10, 6.0),
    "fds": (0.05, 4),
    "threads": (0.0, 3),
    "goroutines": (0.15, 30),
}

FEWEST = 9


class Verdict:
    def __init__(self, name, before, after, allowed):
        self.name, self.before, self.after, self.allowed = name, before, after, allowed

    @property
    def flat(self):
        return self.after - self.before <= self.allowed


def judge(name, values):
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
    return Verdict(name, before, after, max(before * share, least))
