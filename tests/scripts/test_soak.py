"""scripts/soak: what it calls flat, and what it does not."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benches/soak"))

from growth import growth  # noqa: E402


class Growth(unittest.TestCase):
    def flat(self, name, values):
        return growth(name, values).flat

    def test_what_warms_up_and_then_stays_is_flat(self):
        self.assertTrue(self.flat("api.rss_mib", [20, 40, 60, 62, 58, 61, 60, 63, 59, 61, 60, 62]))
        self.assertTrue(self.flat("server.fds", [20] * 30))

    def test_one_odd_sample_says_nothing(self):
        self.assertTrue(self.flat("server.fds", [20] * 28 + [90, 20]))
        self.assertTrue(self.flat("api.rss_mib", [60] * 25 + [140] + [60] * 4))

    def test_a_slow_leak_is_not_flat(self):
        self.assertFalse(self.flat("server.rss_mib", [30 + minute for minute in range(30)]))
        self.assertFalse(self.flat("server.fds", [20 + sample for sample in range(30)]))
        self.assertFalse(self.flat("api.threads", [12] * 20 + [16] * 10))

    def test_too_few_samples_are_refused(self):
        with self.assertRaises(SystemExit):
            growth("api.rss_mib", [60] * 8)


if __name__ == "__main__":
    unittest.main()
