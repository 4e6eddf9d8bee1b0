"""ipam-watcher and ipam-status-writer as processes, and the three programs together as they run on a host."""
from cluster import paths
from harness.daemon import Daemon, Process


class KubeProcess(Process):
    """One of the two programs that hold Kubernetes credentials; it talks to one ipamd, as one service account."""

    program = None
    account = None

    def __init__(self, cluster, daemon, kubeconfig=None, options=()):
        """kubeconfig: None for that of its service account with a token file, "" for none (in-cluster)."""
        super().__init__(self.program.name)
        self.cluster = cluster
        self.daemon = daemon
        self.kubeconfig = getattr(cluster, self.account).kubeconfig() if kubeconfig is None else kubeconfig
        self.options = [str(option) for option in options]

    def command(self, *options):
        credentials = ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else []
        return [str(self.program), *credentials, "--socket", str(self.daemon.socket), *self.more(), *self.options,
                *map(str, options)]

    def more(self):
        return ["--events", str(self.daemon.events)]


class Watcher(KubeProcess):
    program = paths.WATCHER
    account = "watcher"


class StatusWriter(KubeProcess):
    program = paths.STATUS_WRITER
    account = "status_writer"


class Host:
    """ipamd, a watcher and a status-writer. Parts are started by start(), or each by its own start()."""

    def __init__(self, cluster, watcher=None, status_writer=None):
        """watcher and status_writer: what Watcher and StatusWriter take beyond the cluster and the daemon."""
        self.daemon = Daemon()
        self.watcher = Watcher(cluster, self.daemon, **(watcher or {}))
        self.status_writer = StatusWriter(cluster, self.daemon, **(status_writer or {}))
        self.folder = self.daemon.folder

    def parts(self):
        return self.watcher, self.status_writer, self.daemon

    def start(self):
        self.daemon.start()
        self.status_writer.start()
        self.watcher.start()
        return self

    def ipam(self):
        """A client of ipamd's socket."""
        return self.daemon.ipam()

    def close(self):
        return [f"{part.name}: {problem}" for part in self.parts() for problem in part.close()]

    def log(self):
        return "".join(f"-- {part.name}\n{part.log()[-8000:]}\n" for part in self.parts())

    def remove(self):
        for part in self.parts():
            part.remove()
