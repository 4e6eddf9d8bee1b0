"""Our programs as processes, ipamd first of all: started and waited for by its own READY=1, stopped, killed, and read for sanitizer reports."""
import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import grpc

from harness.children import child
from harness.paths import IPAMC, IPAMD, SLOW
from harness.protos import ipam_grpc

# gRPC shuts itself down when the last channel goes, and aborts at times if calls were cancelled just before: one stays open.
KEPT = grpc.insecure_channel("unix:/nonexistent")
REPORTS = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed")


class Notifications:
    """A NOTIFY_SOCKET, as systemd keeps one: collects what the daemon says. It is read all the time, as systemd does: a daemon
    that says much would wait for its reader."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.seen = []
        self.closed = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with contextlib.suppress(OSError, ValueError):
            while not self.closed:
                if select.select([self.socket], [], [], 0.2)[0]:
                    self.seen += self.socket.recv(65536).decode().split("\n")

    def wait(self, wanted, timeout, alive=lambda: True):
        """Waits for a line such as READY=1; False when the time is up or the process is gone."""
        end = time.monotonic() + timeout
        while True:
            if wanted in self.seen:
                return True
            if time.monotonic() > end or not alive():
                return wanted in self.seen
            time.sleep(0.01)

    def close(self):
        self.closed = True
        self.socket.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


class Process:
    """One of our programs with a folder of its own. Restartable; the folder stays until remove()."""

    def __init__(self, name="ipamd"):
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self.folder.chmod(0o755)
        self.log_path = self.folder / "log"
        self.process = None
        self.notifications = None
        self.killed_on_purpose = False
        self.expected_report = False

    def command(self, *options):
        raise NotImplementedError

    def close_channels(self):
        """Whoever has connections to the process closes them here, before it ends."""

    def start(self, *options, wrap=(), env=None, timeout=30, ready=True):
        """Starts it, wrapped in another command if wanted, and waits until it says that it serves."""
        assert self.process is None or self.process.poll() is not None, "started twice"
        if self.notifications:
            self.notifications.close()
        self.notifications = Notifications(self.folder / "notify")
        self.killed_on_purpose = False
        with open(self.log_path, "ab") as log:
            self.process = child(
                [*wrap, *self.command(*options)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": self.notifications.path, **(env or {})})
        if ready and not self.wait_ready(timeout):
            raise AssertionError(f"{self.name} did not get ready\n{self.log()}")
        return self

    def wait_ready(self, timeout=30):
        return self.notifications.wait("READY=1", timeout * SLOW, self.alive)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def wait(self, timeout=20):
        return self.process.wait(timeout * SLOW)

    def stop(self, timeout=20):
        """SIGTERM; returns the exit status."""
        self.close_channels()
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill9(self, keep_channels=False):
        """Channels go too: gRPC shares a connection between channels of one target, so a new one would get the dead one."""
        if not keep_channels:
            self.close_channels()
        self.killed_on_purpose = True
        self.process.kill()
        self.process.wait()

    def restart(self, *options):
        """The hard way: kill -9, then start."""
        self.kill9()
        return self.start(*options)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, pattern, timeout=10):
        end = time.monotonic() + timeout * SLOW
        while not re.search(pattern, self.log()):
            assert time.monotonic() < end, f"the log never said {pattern!r}:\n{self.log()}"
            time.sleep(0.02)

    def close(self):
        """Stops what still runs, takes the files away, and returns what went wrong: reports and odd exit statuses."""
        wrong = []
        self.close_channels()
        if self.alive():
            try:
                status = self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                status = "none: it hung at SIGTERM"
            if status != 0:
                wrong.append(f"exit status {status} at SIGTERM")
        elif self.process and self.process.returncode < 0 and not self.killed_on_purpose:
            wrong.append(f"died of signal {-self.process.returncode}")
        if REPORTS.search(self.log()) and not self.expected_report:
            wrong.append("its log has a report of a defect")
        if self.notifications:
            self.notifications.close()
        return wrong

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Daemon(Process):
    """One ipamd with a socket and a state directory of its own. Restartable; the state stays until remove()."""

    def __init__(self, state_dir=None):
        super().__init__()
        self.socket = self.folder / "ipamd.sock"
        self.events = self.folder / "events.sock"
        self.state_dir = Path(state_dir) if state_dir else self.folder / "state"
        self.channels = []

    def command(self, *options):
        return [str(IPAMD), "--socket", str(self.socket), "--events", str(self.events), "--state-dir",
                str(self.state_dir), *options]

    def target(self):
        return f"unix:{self.socket}"

    def channel(self, *options):
        channel = grpc.insecure_channel(self.target(), options=options)
        self.channels.append(channel)
        return channel

    def ipam(self):
        """A client of ipam.v1.IPAM whose calls have a deadline."""
        return WithDeadline(ipam_grpc.IPAMStub(self.channel()))

    def close_channels(self):
        for channel in self.channels:
            channel.close()
        self.channels = []

    def ipamc(self, *arguments, stdin=None, env=None, check=False, timeout=30):
        done = subprocess.run([str(IPAMC), *map(str, arguments)], input=stdin, capture_output=True, text=True,
                              env={**os.environ, "IPAMD_SOCKET": str(self.socket), **(env or {})},
                              timeout=timeout * SLOW, check=False)
        assert not REPORTS.search(done.stderr), f"ipamc {arguments}: {done.stderr}"
        assert not check or done.returncode == 0, f"ipamc {arguments}: status {done.returncode}\n{done.stderr}"
        return done


class WithDeadline:
    """Calls through to a generated client, with a deadline unless one is given: no test hangs on an answer."""

    def __init__(self, client, seconds=20):
        self.client = client
        self.seconds = seconds * SLOW

    def __getattr__(self, name):
        method = getattr(self.client, name)

        def call(request, timeout=None, **more):
            return method(request, timeout=timeout or self.seconds, **more)

        call.future = lambda request, timeout=None, **more: method.future(request, timeout=timeout or self.seconds, **more)
        call.with_call = lambda request, timeout=None, **more: method.with_call(
            request, timeout=timeout or self.seconds, **more)
        return call
