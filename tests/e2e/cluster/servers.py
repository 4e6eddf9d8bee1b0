"""etcd and kube-apiserver as processes on loopback; each can be stopped and started again with the same data and port."""
import random
import signal
import socket
import subprocess
import time

import requests

from cluster import paths
from cluster.api import new_session
from harness.children import child
from harness.paths import SLOW

AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: None
    users: [admin, "system:apiserver", "system:anonymous"]
  - level: Metadata
"""


def free_port():
    """A port that nobody has, outside the range that outgoing connections take theirs from: it is still free at a restart."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Server:
    """A process with a log, which says over HTTP when it is ready."""

    ready_url = None
    session = None

    def __init__(self, folder):
        self.folder = folder
        self.name = type(self).__name__
        folder.mkdir(parents=True)
        self.log_path = folder / "log"
        self.process = None

    def command(self):
        raise NotImplementedError

    def start(self, wait=True):
        assert self.process is None or self.process.poll() is not None, f"{self.name} started twice"
        with open(self.log_path, "ab") as log:
            self.process = child(self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=90):
        end = time.monotonic() + seconds * SLOW
        while not self.is_ready():
            assert self.process.poll() is None, f"{self.name} ended with status {self.process.poll()}\n{self.log()}"
            assert time.monotonic() < end, f"{self.name} did not get ready in {seconds} s\n{self.log()}"
            time.sleep(0.05)

    def is_ready(self):
        try:
            return self.session.get(self.ready_url, timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, kill=False):
        """SIGTERM, or SIGKILL."""
        if self.alive():
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                self.process.wait(60 * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def restart(self, kill=False):
        self.stop(kill)
        return self.start()

    def log(self):
        """The end of it."""
        return self.log_path.read_text(errors="replace")[-4000:]


class Etcd(Server):
    def __init__(self, folder):
        super().__init__(folder)
        self.url = f"http://127.0.0.1:{free_port()}"
        self.peer_url = f"http://127.0.0.1:{free_port()}"
        self.ready_url = f"{self.url}/health"
        self.session = new_session()

    def command(self):
        return [paths.release().etcd, "--name", "e2e", "--data-dir", self.folder / "data", "--listen-client-urls", self.url,
                "--advertise-client-urls", self.url, "--listen-peer-urls", self.peer_url,
                "--initial-advertise-peer-urls", self.peer_url, "--initial-cluster", f"e2e={self.peer_url}",
                "--logger", "zap", "--log-outputs", "stderr"]

    def compact(self):
        """Forgets all history up to now, so that what was there before can't be listed or watched from etcd any more."""
        revision = self._call("kv/put", {"key": "bm93"})["header"]["revision"]  # so that even the newest is an older one
        self._call("kv/compaction", {"revision": revision, "physical": True})
        return int(revision)

    def _call(self, method, body):
        reply = self.session.post(f"{self.url}/v3/{method}", json=body, timeout=30)
        assert reply.status_code == 200, f"etcd: {method}: {reply.status_code} {reply.text}"
        return reply.json()


class ApiServer(Server):
    def __init__(self, folder, etcd, authority, admin):
        super().__init__(folder)
        self.etcd = etcd
        self.authority = authority
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ready_url = f"{self.url}/readyz"
        self.certificate, self.key = authority.issue_server("apiserver")
        self.audit_log = folder / "audit.log"
        self.audit_log.touch()
        self.session = new_session(authority.ca, certificate=admin)
        (folder / "audit-policy.yaml").write_text(AUDIT_POLICY)

    def command(self):
        return [paths.release().kube_apiserver, "--etcd-servers", self.etcd.url, "--bind-address", "127.0.0.1",
                "--advertise-address", "127.0.0.1", "--endpoint-reconciler-type", "none", "--secure-port", self.port,
                "--tls-cert-file", self.certificate, "--tls-private-key-file", self.key, "--cert-dir", self.folder,
                "--client-ca-file", self.authority.ca, "--authorization-mode", "RBAC",
                "--service-account-issuer", "https://kubernetes.default.svc",
                "--service-account-signing-key-file", self.authority.token_key,
                "--service-account-key-file", self.authority.token_public_key,
                "--service-cluster-ip-range", "10.96.0.0/16", "--audit-log-path", self.audit_log,
                "--audit-policy-file", self.folder / "audit-policy.yaml", "--max-requests-inflight", 2000,
                "--max-mutating-requests-inflight", 1000, "--event-ttl", "1h", "--v", 1]

    def complaints(self):
        """The log's warnings and errors."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if line[:1] in "EWF"][-40:])
