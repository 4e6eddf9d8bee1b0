"""The Kubernetes API by plain requests: a few verbs on the kinds that the tests look at. One Api per thread."""
import json
import time

import requests

from harness.paths import SLOW

PREFIXES = {
    "proxyippools": "/apis/novaedge.io/v1alpha1",
    "proxyvips": "/apis/novaedge.io/v1alpha1",
    "leases": "/apis/coordination.k8s.io/v1",
    "events": "/api/v1",
    "namespaces": "/api/v1",
    "secrets": "/api/v1",
    "serviceaccounts": "/api/v1",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
}

PATCH_TYPES = {"merge": "application/merge-patch+json", "json": "application/json-patch+json"}


class ApiError(Exception):
    """An answer of the server that is no success."""

    def __init__(self, status, body):
        self.status = status
        self.reason = body.get("reason", "")
        super().__init__(f"{status} {self.reason}: {body.get('message', body)}")


def path_of(kind, name="", namespace="", subresource=""):
    parts = [PREFIXES[kind], f"namespaces/{namespace}" if namespace else "", kind, name, subresource]
    return "/".join(part for part in parts if part)


class Api:
    """Calls as one identity. Every call raises ApiError unless it succeeds, and requests.RequestException without an answer."""

    def __init__(self, url, session):
        self.url = url
        self.session = session

    def call(self, method, path, body=None, content_type="application/json", timeout=30, **query):
        data = None if body is None else json.dumps(body)
        reply = self.session.request(method, self.url + path, data=data, params=query,
                                     headers={"Content-Type": content_type}, timeout=timeout * SLOW)
        if reply.status_code >= 300:
            raise ApiError(reply.status_code, _failure(reply))
        return reply.json()

    def get(self, kind, name, namespace=""):
        return self.call("GET", path_of(kind, name, namespace))

    def find(self, kind, name, namespace=""):
        """The object, or None when there is none."""
        try:
            return self.get(kind, name, namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind, namespace="", **query):
        """The whole list as the server sends it: items, and metadata with resourceVersion."""
        return self.call("GET", path_of(kind, namespace=namespace), **query)

    def items(self, kind, namespace=""):
        return self.list(kind, namespace)["items"]

    def create(self, kind, body, namespace=""):
        return self.call("POST", path_of(kind, namespace=namespace), body)

    def replace(self, kind, body, namespace="", subresource=""):
        return self.call("PUT", path_of(kind, body["metadata"]["name"], namespace, subresource), body)

    def patch(self, kind, name, patch, namespace="", subresource="", patch_type="merge"):
        return self.call("PATCH", path_of(kind, name, namespace, subresource), patch, PATCH_TYPES[patch_type])

    def delete(self, kind, name, namespace=""):
        return self.call("DELETE", path_of(kind, name, namespace))

    def may(self, user, verb, resource, name="", namespace=""):
        """Whether the roles allow it. resource: "proxyvips/status"."""
        resource, _, subresource = resource.partition("/")
        asked = {"verb": verb, "group": PREFIXES[resource].split("/")[2] if PREFIXES[resource].startswith("/apis/") else "",
                 "resource": resource, "subresource": subresource, "name": name, "namespace": namespace}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                  "spec": {"user": user, "resourceAttributes": asked}}
        return self.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]

    def delete_all(self, kind, namespace=""):
        return self.call("DELETE", path_of(kind, namespace=namespace))

    def watch(self, kind, since, seconds=300):
        """Events after a resource version, bookmarks included, until the server ends the watch. 410 raises ApiError."""
        query = {"watch": "1", "resourceVersion": since, "allowWatchBookmarks": "true", "timeoutSeconds": seconds}
        with self.session.get(self.url + path_of(kind), params=query, stream=True, timeout=seconds + 30) as reply:
            if reply.status_code != 200:
                raise ApiError(reply.status_code, _failure(reply))
            for line in reply.iter_lines(chunk_size=None):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"])
                yield event


def _failure(reply):
    try:
        return reply.json()
    except ValueError:
        return {"message": reply.text}


def new_session(ca=None, token="", certificate=None):
    session = requests.Session()
    session.trust_env = False
    session.verify = str(ca) if ca else True
    if certificate:
        session.cert = tuple(map(str, certificate))
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    return session


def wait_for(probe, what, seconds=15, show=lambda seen: repr(seen)):
    """Calls probe until what it returns is true, and returns that. A failure says what was waited for and what was there."""
    end = time.monotonic() + seconds * SLOW
    while True:
        seen = probe()
        if seen:
            return seen
        assert time.monotonic() < end, f"after {seconds} s still not: {what}\n{show(seen)}"
        time.sleep(0.05)
