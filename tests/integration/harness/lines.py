"""A program that prints one line an event: read as it runs, waited for by pattern."""
import os
import re
import signal
import subprocess
import threading
import time

from harness.children import child
from harness.daemon import REPORTS
from harness.paths import SLOW


class Lines:
    def __init__(self, command, env=None):
        self.process = child(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             env={**os.environ, **(env or {})})
        self.seen = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.seen.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def count(self, pattern):
        with self.changed:
            return sum(bool(re.search(pattern, line)) for line in self.seen)

    def wait(self, pattern, seconds=15, times=1):
        """The line of that pattern, the `times`th of them; fails when it does not come or the program is gone."""
        end = time.monotonic() + seconds * SLOW
        with self.changed:
            while True:
                found = [line for line in self.seen if re.search(pattern, line)]
                if len(found) >= times:
                    return found[times - 1]
                left = end - time.monotonic()
                assert left > 0 and (self.reader.is_alive() or self.process.poll() is None), \
                    f"no line {pattern!r} came:\n" + "\n".join(self.seen)
                self.changed.wait(min(left, 0.5))

    def wait_end(self, seconds=15):
        status = self.process.wait(seconds * SLOW)
        self.reader.join(5)
        assert not REPORTS.search("\n".join(self.seen)), "\n".join(self.seen)
        return status

    def stop(self):
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait_end()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
