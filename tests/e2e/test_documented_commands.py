"""The commands of docs/kubernetes.md for undoing a deletion and for uninstalling, as they stand there."""
import os
import re
import shutil
import subprocess

import pytest
import yaml

from cluster import paths
from cluster.api import wait_for
from cluster.objects import pool, vip
from cluster.processes import Host
from harness.paths import IPAMC, ROOT

# ---- Helpers


def commands(heading):
    """The blocks of commands of a section, one text each."""
    text = (ROOT / "docs/kubernetes.md").read_text()
    section = re.search(rf"(?ms)^## {heading}$(.*?)(?=^## |\Z)", text)[1]
    blocks = re.findall(r"(?ms)^```\n(.*?)^```$", section)
    assert blocks, heading
    return blocks


class Shell:
    """Runs commands as a user of the host would type them."""

    def __init__(self, kube, host, folder):
        self.folder = folder
        tools = folder / "tools"
        tools.mkdir()
        for name, path in (("kubectl", shutil.which(paths.release().kubectl)), ("ipamc", IPAMC)):
            (tools / name).symlink_to(path)
        self.env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "KUBECONFIG": str(kube.kubeconfig),
                    "HOME": str(folder), "IPAMD_SOCKET": str(host.daemon.socket)}

    def run(self, block):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=self.folder, env=self.env, capture_output=True,
                              text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout


def write(folder, item):
    (folder / f"{item['metadata']['name']}.yaml").write_text(yaml.safe_dump(item))


@pytest.fixture
def used(kube, host):
    """A pool with two VIPs of it."""
    kube.put([pool("main-vip-pool", "10.200.0.0/24"), vip("web-vip", "main-vip-pool", "10.200.0.1/32"),
              vip("api-vip", "main-vip-pool", "10.200.0.2/32")])
    kube.wait_bound("web-vip")
    kube.wait_bound("api-vip")
    return kube


# ---- Tests

def test_a_deleted_vip_comes_back_with_its_address(used, host, recorder, tmp_path):
    write(tmp_path, vip("web-vip", "main-vip-pool"))
    used.kubectl("delete", "proxyvip", "web-vip")
    out = Shell(used, host, tmp_path).run(commands("Undoing an accidental deletion")[0])
    assert "10.200.0.1" in out
    used.wait_bound("web-vip", "10.200.0.1/32")


def test_a_deleted_pool_comes_back_and_its_vips_keep_their_addresses(used, host, recorder, tmp_path):
    used.kubectl("delete", "proxyippool", "main-vip-pool", "--wait=false")
    used.wait_pool("main-vip-pool", reason="Terminating")
    Shell(used, host, tmp_path).run(commands("Undoing an accidental deletion")[1])
    found = used.wait_pool("main-vip-pool", reason="PoolReady", allocated=2)
    assert "deletionTimestamp" not in found["metadata"]
    used.put(vip("late-vip", "main-vip-pool"))
    used.wait_bound("late-vip", "10.200.0.3/32")
    recorder.catch_up()
    assert recorder.addresses("api-vip")[-1] == "10.200.0.2/32" and recorder.addresses("web-vip")[-1] == "10.200.0.1/32"


@pytest.fixture
def to_uninstall(other_cluster, tmp_path, request):
    """A cluster of its own, with a pool in use; the manifests in the folder."""
    host = Host(other_cluster)
    request.addfinalizer(host.remove)
    request.addfinalizer(host.close)
    host.start()
    for path in (ROOT / "proto/crd").glob("*.yaml"):
        shutil.copy(path, tmp_path)
    other_cluster.put([pool("main-vip-pool", "10.200.0.0/24"), vip("web-vip", "main-vip-pool")])
    other_cluster.wait_bound("web-vip")
    return other_cluster, host


def test_uninstalling_leaves_nothing_behind(to_uninstall, tmp_path):
    kube, host = to_uninstall
    Shell(kube, host, tmp_path).run(commands("Uninstalling")[0])
    wait_for(lambda: not kube.admin.items("customresourcedefinitions"), "the definitions are gone", 30)


def test_without_the_programs_the_finalizer_is_taken_off_by_hand(to_uninstall, tmp_path):
    kube, host = to_uninstall
    for part in host.parts():
        part.stop()
    kube.kubectl("delete", "proxyvips,proxyippools", "--all", "--wait=false")
    assert kube.admin.find("proxyippools", "main-vip-pool")
    Shell(kube, host, tmp_path).run(commands("Uninstalling")[1])
    kube.wait_gone("proxyippools", "main-vip-pool")
