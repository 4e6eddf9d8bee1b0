"""Who a process is to the API server: a service account, with kubeconfig files in each form that clusters give them out."""
import base64
import json
import os
import tempfile
from pathlib import Path

from cluster.api import Api, new_session


class Kubeconfig:
    """A kubeconfig file. With the credential "token-file", `token_file` is what rotate() writes anew."""

    def __init__(self, path, token_file, account):
        self.path = path
        self.token_file = token_file
        self.account = account

    def __fspath__(self):
        return str(self.path)

    __str__ = __fspath__

    def rotate(self, lifetime=3600):
        """Puts a new token in place of the old one in one step, as kubelet does. The old one stays good until it expires."""
        fresh = self.token_file.with_suffix(".new")
        fresh.write_text(self.account.token(lifetime) + "\n")
        os.replace(fresh, self.token_file)


class Account:
    """A service account of the cluster."""

    def __init__(self, cluster, namespace, name):
        self.cluster = cluster
        self.namespace = namespace
        self.name = name
        self.user = f"system:serviceaccount:{namespace}:{name}"
        self.certificate = cluster.authority.issue_client(name, self.user)

    def token(self, lifetime=3600):
        """Good for `lifetime` seconds, and up to 10 more, as the API server remembers tokens that it has seen."""
        uid = self.cluster.admin.get("serviceaccounts", self.name, self.namespace)["metadata"]["uid"]
        return self.cluster.authority.sign_token(self.namespace, self.name, uid, lifetime)

    def api(self):
        return Api(self.cluster.url, new_session(self.cluster.authority.ca, self.token()))

    def kubeconfig(self, credential="token-file", server="", inline=False, lifetime=3600, context="e2e"):
        """Writes a kubeconfig. credential: token-file, token or certificate; inline: certificates as data, not as files;
        server: another URL than the API server's, such as a fault proxy's (certificates can't pass through one)."""
        folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=self.cluster.folder))
        token_file = folder / "token"
        if credential == "token-file":
            token_file.write_text(self.token(lifetime) + "\n")
        cluster = {"server": server or self.cluster.url, **_file("certificate-authority", self.cluster.authority.ca, inline)}
        config = {
            "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": context,
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": self.name, "user": self._user(credential, token_file, inline, lifetime)}],
            "contexts": [{"name": context, "context": {"cluster": "cluster", "user": self.name}}],
        }
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config, indent=2))  # JSON is YAML
        return Kubeconfig(path, token_file, self)

    def in_cluster(self):
        """What Process.start takes so that the process finds itself in a pod: wrap and env. Needs root."""
        folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=self.cluster.folder))
        (folder / "token").write_text(self.token())
        (folder / "namespace").write_text(self.namespace)
        (folder / "ca.crt").write_bytes(self.cluster.authority.ca.read_bytes())
        port = self.cluster.apiserver.port
        return {"wrap": ["unshare", "--mount", "sh", "-ec", IN_CLUSTER, str(folder)],
                "env": {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}}

    def _user(self, credential, token_file, inline, lifetime):
        if credential == "token-file":
            return {"tokenFile": str(token_file)}
        if credential == "token":
            return {"token": self.token(lifetime)}
        assert credential == "certificate", f"no such credential: {credential}"
        certificate, key = self.certificate
        return {**_file("client-certificate", certificate, inline), **_file("client-key", key, inline)}


# A process in a mount namespace of its own finds in /run what a pod finds there; nothing else sees it.
IN_CLUSTER = """\
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io
ln -s "$0" /run/secrets/kubernetes.io/serviceaccount
exec "$@"
"""


def _file(key, path, inline):
    if inline:
        return {f"{key}-data": base64.b64encode(path.read_bytes()).decode()}
    return {key: str(path)}
