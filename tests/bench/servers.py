"""The servers that are measured: ipamd and etcd, each on a Unix socket with a state directory of its own."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path


class ServerFailed(Exception):
    pass


def _log_of(folder):
    return (folder / "log").read_text(errors="replace")[-2000:]


def _stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def memory_of(pid, field):
    """VmRSS, VmHWM … of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1000
    raise ServerFailed(f"/proc/{pid}/status has no {field}")


@contextlib.contextmanager
def ipamd(build, folder, state=None, options=()):
    """Starts ipamd and waits for its READY=1; yields (process, socket, seconds from exec to READY)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "ipamd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open(folder / "log", "wb") as log:
        notify.bind(str(folder / "notify"))
        notify.settimeout(60)
        begin = time.perf_counter()
        process = subprocess.Popen(
            [build / "daemon/ipamd/ipamd", "--socket", path, "--events", folder / "events.sock", "--state-dir",
             state or folder / "state", *options],
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}, stdin=subprocess.DEVNULL, stderr=log)
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
            yield process, path, time.perf_counter() - begin
        except TimeoutError:
            raise ServerFailed(f"ipamd did not get ready:\n{_log_of(folder)}") from None
        finally:
            _stop(process)


@contextlib.contextmanager
def etcd(folder):
    """Starts one etcd with its defaults, that serves clients on a Unix socket; yields its path."""
    folder.mkdir(parents=True, exist_ok=True)
    # etcd takes unix://HOST:PORT and makes a socket of that name in its working directory.
    path = folder / "localhost:1"
    peer = "http://127.0.0.1:1"
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            ["etcd", "--data-dir", folder / "state", "--listen-client-urls", "unix://localhost:1",
             "--advertise-client-urls", "http://localhost:1", "--listen-peer-urls", "http://127.0.0.1:0",
             "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while "ready to serve client requests" not in _log_of(folder) or not path.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ServerFailed(f"etcd did not get ready:\n{_log_of(folder)}")
                time.sleep(0.05)
            yield path
        finally:
            _stop(process)


@contextlib.contextmanager
def scratch(folder):
    """An empty folder, gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
