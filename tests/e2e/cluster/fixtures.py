"""Fixtures of the e2e tests. One cluster serves all tests of a run; what a test leaves in it is taken away after it."""
import pytest

from cluster import paths
from cluster.cluster import Cluster
from cluster.faults import FaultProxy
from cluster.novaedge import StatusReplacer
from cluster.processes import Host, StatusWriter, Watcher
from cluster.recorder import Recorder
from harness.fixtures import factory


def running_cluster():
    made = Cluster()
    try:
        yield made.start()
    finally:
        made.stop()
        made.remove()


@pytest.fixture(scope="session")
def cluster():
    """etcd and kube-apiserver with our CRDs and roles; tests take `kube`, which is emptied."""
    yield from running_cluster()


@pytest.fixture
def other_cluster():
    """Another, empty cluster, with another authority and other tokens; about 10 s to start."""
    yield from running_cluster()


@pytest.fixture
def kube(cluster, request):
    """The cluster, emptied after each test; see cluster/cluster.py for what it can be asked."""
    yield cluster
    if getattr(request.node, "report_call", None) and request.node.report_call.failed:
        print(f"---- complaints of kube-apiserver\n{cluster.apiserver.complaints()}")
    cluster.clean()


@pytest.fixture
def novaedge_crds(kube):
    """The test runs with NovaEdge's own definitions instead of ours."""
    kube.apply_crds(paths.NOVAEDGE_CRDS)
    yield kube
    kube.clean()
    kube.apply_crds(paths.OUR_CRDS)


@pytest.fixture
def watchers(request, kube):
    """Makes Watcher(cluster, daemon, kubeconfig=None, options=()); not started."""
    yield from factory(request, Watcher)


@pytest.fixture
def status_writers(request, kube):
    """Makes StatusWriter(cluster, daemon, kubeconfig=None, options=()); not started."""
    yield from factory(request, StatusWriter)


@pytest.fixture
def hosts(request, kube):
    """Makes Host(cluster, watcher={…}, status_writer={…}); not started."""
    yield from factory(request, Host)


@pytest.fixture
def host(hosts, kube):
    """ipamd, ipam-watcher and ipam-status-writer, started, as the service accounts with the shipped roles, which must do."""
    mark = kube.audit_mark()
    yield hosts(kube).start()
    entries = kube.audit(kube.watcher, mark) + kube.audit(kube.status_writer, mark)
    assert not [entry for entry in entries if entry["status"] in (401, 403)]


@pytest.fixture
def proxies(kube):
    """Makes started FaultProxy(cluster, tls=True)."""
    made = []

    def make(**options):
        made.append(FaultProxy(kube, **options).start())
        return made[-1]

    yield make
    for proxy in made:
        proxy.stop()


@pytest.fixture
def recorder(kube):
    """A started Recorder; at the end the test fails if any address was ever in two VIPs' statuses at once."""
    recorder = Recorder(kube).start()
    yield recorder
    kube.revive()
    try:
        recorder.assert_no_double()
    finally:
        recorder.stop()


@pytest.fixture
def replacer(kube):
    """A started StatusReplacer, as NovaEdge's controller; at the end the test fails if it was refused something."""
    replacer = StatusReplacer(kube).start()
    yield replacer
    replacer.stop()
    assert not replacer.failures, replacer.failures[:5]
