"""Where things are: the programs under test, the API server and the manifests."""
import dataclasses
import functools
import os
import subprocess

from harness.paths import BUILD, ROOT

WATCHER = BUILD / "daemon/watcher/ipam-watcher"
STATUS_WRITER = BUILD / "daemon/status-writer/ipam-status-writer"

OUR_CRDS = (ROOT / "proto/crd/proxyippool.yaml", ROOT / "proto/crd/proxyvip.yaml")
NOVAEDGE_CRDS = (ROOT / "tests/e2e/crd/novaedge-proxyippool.yaml", ROOT / "tests/e2e/crd/novaedge-proxyvip.yaml")
ROLES = (ROOT / "proto/crd/rbac-ipam-watcher.yaml", ROOT / "proto/crd/rbac-ipam-status-writer.yaml",
         ROOT / "tests/e2e/crd/rbac-novaedge.yaml")


@dataclasses.dataclass(frozen=True)
class Release:
    """The servers that the tests run on, and the kubectl that goes with them."""

    kube_apiserver: str
    etcd: str
    kubectl: str


def _build(script):
    """What the script has built and where; ./test has run it before, otherwise this takes minutes."""
    return subprocess.run([ROOT / "tests/e2e" / script], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@functools.cache
def release():
    """That of Debian, or with IPAMD_KUBE=current that of tests/e2e/current/go.mod."""
    if os.environ.get("IPAMD_KUBE", "debian") == "current":
        folder = _build("build-current")
        return Release(f"{folder}/kube-apiserver", f"{folder}/etcd", f"{folder}/kubectl")
    return Release(_build("build-apiserver"), "etcd", "kubectl")
