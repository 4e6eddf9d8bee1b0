"""Where things are: the programs under test, the API server and the manifests."""
import functools
import subprocess

from harness.paths import BUILD, ROOT

WATCHER = BUILD / "daemon/watcher/ipam-watcher"
STATUS_WRITER = BUILD / "daemon/status-writer/ipam-status-writer"

OUR_CRDS = (ROOT / "proto/crd/proxyippool.yaml", ROOT / "proto/crd/proxyvip.yaml")
NOVAEDGE_CRDS = (ROOT / "tests/e2e/crd/novaedge-proxyippool.yaml", ROOT / "tests/e2e/crd/novaedge-proxyvip.yaml")
ROLES = (ROOT / "proto/crd/rbac-ipam-watcher.yaml", ROOT / "proto/crd/rbac-ipam-status-writer.yaml",
         ROOT / "tests/e2e/crd/rbac-novaedge.yaml")


@functools.cache
def kube_apiserver():
    """Path of the built kube-apiserver; ./test has built it before, otherwise this takes minutes."""
    done = subprocess.run([ROOT / "tests/e2e/build-apiserver"], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()
