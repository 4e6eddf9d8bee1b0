"""The whole: etcd and kube-apiserver with our CRDs and roles, kubectl, and what tests ask of them."""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

from cluster import paths
from cluster.api import Api, ApiError, new_session, path_of, wait_for
from cluster.identity import Account
from cluster.pki import Authority
from cluster.servers import ApiServer, Etcd
from harness.paths import SLOW

NAMESPACE = "ipam-system"
KINDS = ("proxyvips", "proxyippools")


class Cluster:
    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ipamd-e2e-"))
        self.authority = Authority(self.folder / "pki")
        self.admin_certificate = self.authority.issue_client("admin", "admin", "system:masters")
        self.etcd = Etcd(self.folder / "etcd")
        self.apiserver = ApiServer(self.folder / "apiserver", self.etcd, self.authority, self.admin_certificate)
        self.url = self.apiserver.url
        self.admin = self.new_admin()
        self.kubeconfig = self.folder / "admin.kubeconfig"

    def start(self):
        self.etcd.start()
        self.apiserver.start()
        self._write_kubeconfig()
        self.apply_crds(paths.OUR_CRDS)
        for roles in paths.ROLES:
            self.kubectl("apply", "-f", roles)
        self.watcher = Account(self, NAMESPACE, "ipam-watcher")
        self.status_writer = Account(self, NAMESPACE, "ipam-status-writer")
        self.novaedge = Account(self, "novaedge-system", "novaedge-controller")
        return self

    def stop(self):
        self.apiserver.stop(kill=True)
        self.etcd.stop(kill=True)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- Access

    def new_admin(self):
        """An Api as cluster administrator, for a thread of its own."""
        return Api(self.url, new_session(self.authority.ca, certificate=self.admin_certificate))

    def _write_kubeconfig(self):
        certificate, key = self.admin_certificate
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "admin",
            "clusters": [{"name": "e2e", "cluster": {"server": self.url, "certificate-authority": str(self.authority.ca)}}],
            "users": [{"name": "admin", "user": {"client-certificate": str(certificate), "client-key": str(key)}}],
            "contexts": [{"name": "admin", "context": {"cluster": "e2e", "user": "admin"}}],
        }
        self.kubeconfig.write_text(json.dumps(config))

    def kubectl(self, *arguments, stdin=None, check=True, kubeconfig=None, timeout=60):
        """Real kubectl, as administrator unless another kubeconfig is given. Returns the ended process, outputs as text."""
        done = subprocess.run([paths.release().kubectl, *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False,
                              timeout=timeout * SLOW, cwd=self.folder,
                              env={**os.environ, "KUBECONFIG": str(kubeconfig or self.kubeconfig), "HOME": str(self.folder)})
        assert not check or done.returncode == 0, f"kubectl {arguments}: status {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def apply(self, manifest, check=True):
        """kubectl apply of a text, of a file, or of objects as dicts."""
        if isinstance(manifest, Path):
            return self.kubectl("apply", "-f", manifest, check=check)
        if isinstance(manifest, dict):
            manifest = [manifest]
        text = manifest if isinstance(manifest, str) else yaml.safe_dump_all(manifest)
        return self.kubectl("apply", "-f", "-", stdin=text, check=check)

    def put(self, objects):
        """What apply does with objects as dicts, by server-side apply: for tests where it need not be kubectl, which takes
        half a second a call."""
        for item in [objects] if isinstance(objects, dict) else objects:
            plural = f"{item['kind'].lower()}s"
            self.admin.call("PATCH", path_of(plural, item["metadata"]["name"]), item, "application/apply-patch+yaml",
                            fieldManager="test", force="true")

    # -- Definitions

    def apply_crds(self, files):
        """Puts these definitions in place of what is there and waits until the server goes by them."""
        for path in files:
            wanted = yaml.safe_load(path.read_text())
            name = wanted["metadata"]["name"]
            now = self.admin.find("customresourcedefinitions", name)
            if now is None:
                self.admin.create("customresourcedefinitions", wanted)
            else:
                wanted["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"]
                self.admin.replace("customresourcedefinitions", wanted)
        for path in files:
            self._wait_served(yaml.safe_load(path.read_text()))

    def _wait_served(self, crd):
        """The server's own word comes before what it does: this also asks it to default or prune the field that differs."""
        name = crd["metadata"]["name"]

        def established():
            conditions = self.admin.get("customresourcedefinitions", name).get("status", {}).get("conditions", [])
            return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

        wait_for(established, f"{name} is established", 30)
        kind = crd["spec"]["names"]["plural"]
        probe = PROBES[kind]
        properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]

        def goes_by_it():
            try:
                made = self.admin.call("POST", path_of(kind), probe, dryRun="All")
            except ApiError:
                return False
            return all((field in properties) == (field in made["spec"]) for field in probe["spec"]) and all(
                made["spec"].get(field, rule["default"]) == rule["default"]
                for field, rule in properties.items() if "default" in rule)

        wait_for(goes_by_it, f"the server goes by the new definition {name}", 30)

    # -- Faults

    def forget_history(self):
        """410 Gone for every watch and list that goes on from an older resource version: etcd is compacted, and the API
        server, which remembers recent events by itself, is started anew."""
        self.etcd.compact()
        self.apiserver.restart(kill=True)  # SIGTERM would wait for watches, a minute

    def restart_all(self):
        self.apiserver.stop(kill=True)
        self.etcd.restart()
        self.apiserver.start()

    # -- What was asked of the server

    def audit(self, account=None, since=0):
        """The server's audit log, without what the administrator did, as dicts: user, verb, resource ("proxyvips/status"),
        name, status, agent, at, and answered, when the answer went out. `since`: as many entries of the log are left out;
        audit_mark() gives the number."""
        entries = []
        for line in self._audit_lines()[since:]:
            event = json.loads(line)
            reference = event.get("objectRef", {})
            resource = "/".join(filter(None, (reference.get("resource"), reference.get("subresource"))))
            entries.append({"user": event["user"].get("username"), "verb": event["verb"], "resource": resource,
                            "name": reference.get("name", ""), "status": event.get("responseStatus", {}).get("code"),
                            "agent": event.get("userAgent", ""), "at": event["requestReceivedTimestamp"],
                            "answered": event["stageTimestamp"]})
        return [entry for entry in entries if account is None or entry["user"] == account.user]

    def audit_mark(self):
        return len(self._audit_lines())

    def _audit_lines(self):
        """Whole ones: the server may be writing the last."""
        return self.apiserver.audit_log.read_text().split("\n")[:-1]

    # -- Between tests

    def revive(self):
        """Starts what a test left stopped."""
        for server in (self.etcd, self.apiserver):
            if not server.alive():
                server.start()

    def clean(self):
        """Takes every pool, VIP, lease and event away, finalizers or not."""
        self.revive()
        for kind in KINDS:
            self.admin.delete_all(kind)
            for item in self.admin.items(kind):
                self._unfinalize(kind, item["metadata"]["name"])
        self.admin.delete_all("leases", NAMESPACE)
        self.admin.delete_all("events", "default")
        for kind in KINDS:
            wait_for(lambda kind=kind: not self.admin.items(kind), f"all {kind} are gone")

    def _unfinalize(self, kind, name):
        try:
            self.admin.patch(kind, name, {"metadata": {"finalizers": None}})
        except ApiError as error:
            if error.status != 404:
                raise

    # -- Waiting for objects

    def wait(self, kind, name, holds, what, seconds=15):
        """Waits until holds(object) is true and returns the object; None stands for one that isn't there."""
        seen = [None]

        def probe():
            seen[0] = self.admin.find(kind, name)
            return holds(seen[0])

        wait_for(probe, f"{kind} {name}: {what}", seconds, lambda _: yaml.safe_dump(_bare(seen[0])))
        return seen[0]

    def wait_gone(self, kind, name, seconds=15):
        self.wait(kind, name, lambda found: found is None, "is gone", seconds)

    def wait_bound(self, name, address=None, seconds=15):
        """Waits until a VIP's condition Bound is True (with this address) and returns status.allocatedAddress."""
        def bound(vip):
            status = (vip or {}).get("status", {})
            return condition(vip, "Bound").get("status") == "True" and address in (None, status.get("allocatedAddress"))

        vip = self.wait("proxyvips", name, bound, f"is Bound {address or ''}", seconds)
        return vip["status"].get("allocatedAddress")

    def wait_unbound(self, name, reason, seconds=15):
        """Waits until a VIP's condition Bound is False for the reason; returns the condition's message."""
        def unbound(vip):
            seen = condition(vip, "Bound")
            return seen.get("status") == "False" and seen.get("reason") == reason

        return condition(self.wait("proxyvips", name, unbound, f"is not Bound: {reason}", seconds), "Bound")["message"]

    def wait_pool(self, name, seconds=15, reason=None, **counts):
        """Waits until a pool's status has these counts (allocated=3, …) and its Ready this reason; returns the pool."""
        def holds(pool):
            status = (pool or {}).get("status", {})
            return all(status.get(field) == count for field, count in counts.items()) and (
                reason is None or condition(pool, "Ready").get("reason") == reason)

        return self.wait("proxyippools", name, holds, f"has {counts} {reason or ''}", seconds)


def condition(item, kind):
    """One condition of an object, {} when there is none."""
    found = [c for c in (item or {}).get("status", {}).get("conditions", []) if c["type"] == kind]
    assert len(found) <= 1, f"the condition {kind} stands twice: {found}"
    return found[0] if found else {}


def _bare(item):
    """Without what makes a failure text long."""
    if item:
        item["metadata"].pop("managedFields", None)
    return item


PROBES = {
    "proxyippools": {"apiVersion": "novaedge.io/v1alpha1", "kind": "ProxyIPPool", "metadata": {"name": "probe"},
                     "spec": {"cidrs": ["192.0.2.0/30"], "excludedAddresses": ["192.0.2.1"]}},
    "proxyvips": {"apiVersion": "novaedge.io/v1alpha1", "kind": "ProxyVIP", "metadata": {"name": "probe"},
                  "spec": {"mode": "BGP", "ports": [80], "address": "192.0.2.1/32"}},
}
