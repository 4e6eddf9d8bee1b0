"""Waiting for what comes about by itself."""
import time

from harness.paths import SLOW


def eventually(holds, seconds=10):
    end = time.monotonic() + seconds * SLOW
    while not holds():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)
