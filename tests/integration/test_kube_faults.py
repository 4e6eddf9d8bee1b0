"""The API client against servers that are no good: what no real API server can be made to do."""
import base64
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from harness.daemon import Notifications
from harness.lines import Lines
from harness.paths import BUILD
from harness.waiting import eventually

PROBE = BUILD / "tests/kube_probe"
PROGRAM = BUILD / "tests/program_probe"


# ---- Fixture

class Server:
    """Answers each request on a loopback port with bytes from `script`: a list of texts or functions, the last one over and over.
    A watch's check of itself (a list of one) and discovery are apart: `checks` answers the one, `discovery` the other by path."""

    def __init__(self, *script):
        self.script = list(script)
        self.checks = [answer(200, {"metadata": {"resourceVersion": "99999", "continue": "more"}, "items": []})]
        self.checked = []
        self.discovery = {}
        self.requests = []
        self.at = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            try:
                while self._answer(connection):
                    pass
            except OSError:
                pass

    def _answer(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += connection.recv(65536)
        with self.lock:
            data = self._choose(head.decode(), body)
        if callable(data):
            return data(connection)
        connection.sendall(data)
        return b"onnection: close" not in data

    def _choose(self, head, body):
        path = head.split(" ")[1]
        if "limit=1&timeoutSeconds=" in path:
            self.checked.append(time.monotonic())
            return self.checks.pop(0) if len(self.checks) > 1 else self.checks[0]
        if path in self.discovery:
            return self.discovery[path]
        self.requests.append((head, body))
        self.at.append(time.monotonic())
        chosen = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return chosen(path) if isinstance(chosen, ByPath) else chosen

    def close(self):
        self.listener.close()


class ByPath:
    """An answer that depends on what is asked for."""

    def __init__(self, choose):
        self.choose = choose

    def __call__(self, path):
        return self.choose(path)


class TlsServer(Server):
    """The same over TLS. The second connection gets its handshake only when `go` is set; `late` is what came by it then."""

    def __init__(self, folder, *script):
        self.connections = 0
        self.hello, self.go, self.answered, self.over = (threading.Event() for _ in range(4))
        self.late = b""
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-subj", "/CN=localhost", "-keyout", folder / "tls.pem", "-out", folder / "tls.crt"],
                       check=True, capture_output=True)
        self.tls.load_cert_chain(folder / "tls.crt", folder / "tls.pem")
        super().__init__(*script)

    def _serve(self, connection):
        with self.lock:
            self.connections += 1
            second = self.connections == 2
        if second:
            with contextlib.suppress(OSError, AttributeError):  # what ssl raises for a peer that has gone meanwhile
                self._serve_late(connection)
            self.over.set()
            return
        with contextlib.suppress(OSError):
            super()._serve(self.tls.wrap_socket(connection, server_side=True))

    def _serve_late(self, connection):
        connection.recv(1, socket.MSG_PEEK)
        self.hello.set()
        self.go.wait()
        connection.settimeout(0.3)
        secure = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with contextlib.suppress(OSError):  # our part of it leaves, the client's doesn't come: it stands still
            secure.do_handshake()
        self.answered.set()
        secure.settimeout(20)
        secure.do_handshake()
        self.late = secure.recv(65536)


@pytest.fixture
def servers():
    made = []

    def make(*script):
        made.append(Server(*script))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def probes(tmp_path):
    made = []

    def make(server, *arguments, program=PROBE, user=None, cluster=None, **env):
        config = {"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                  "clusters": [{"name": "k", "cluster": cluster or {"server": f"http://127.0.0.1:{server.port}"}}],
                  "users": [{"name": "u", "user": user or {"token": "sesame"}}]}
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        made.append(Lines([program, *arguments], {"KUBECONFIG": str(tmp_path / "kubeconfig"), **env}))
        return made[-1]

    yield make
    for probe in made:
        probe.kill()
        assert "sesame" not in "\n".join(probe.seen), "a token was printed"


# ---- Helpers

def answer(status, body, *headers):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Some", f"Content-Length: {len(text)}", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + text


def chunk(text):
    return f"{len(text):x}\r\n".encode() + text + b"\r\n"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def item(name, uid, version):
    return {"metadata": {"name": name, "uid": uid, "resourceVersion": str(version)}}


def listing(*items, version="10", **metadata):
    return answer(200, {"metadata": {"resourceVersion": version, **metadata}, "items": list(items)})


def event(kind, obj):
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


def watch(*events):
    """A watch response that ends in peace."""
    return CHUNKED + b"".join(chunk(e) for e in events) + b"0\r\n\r\n"


def hold(*events):
    """A watch response that goes on until the client goes."""
    def act(connection):
        connection.sendall(CHUNKED + b"".join(chunk(e) for e in events))
        connection.recv(1)
        return False
    return act


def broken(data):
    def act(connection):
        connection.sendall(data)
        return False
    return act


def paths(server):
    with server.lock:
        return [head.split(" ")[1] for head, _ in server.requests]


# ---- Tests: one call

@pytest.mark.parametrize("data, says", [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":", "API_UNREACHABLE GET /x: .*95 bytes remaining"),
    (CHUNKED + b"5\r\n{\"a\":\r\n", "API_UNREACHABLE GET /x: .*outstanding read data|transfer closed"),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"a\":", "API_UNREACHABLE GET /x: the response is not JSON: byte 5 of 5"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<html/>", "the response is not JSON: byte 1 of 7"),
    (b"rubbish\r\n\r\n", "API_UNREACHABLE GET /x: "),
    (b"HTTP/1.1 200 OK\r\nContent-", "API_UNREACHABLE GET /x: "),
    (b"", "API_UNREACHABLE GET /x: .*Empty reply"),
])
def test_what_did_not_come_whole_is_an_error_and_no_object(servers, probes, data, says):
    probe = probes(servers(broken(data)), "call", "GET", "/x")
    assert re.search(says, probe.wait("^error "))
    assert probe.wait_end() == 0
    assert probe.count("^status") == 0


def test_a_response_at_the_limit_is_taken_and_one_past_it_is_not(servers, probes):
    body = b'{"a":"' + b"x" * 1000 + b'"}'
    server = servers(answer(200, body))
    probes(server, "call", "GET", "/x", PROBE_MAX=str(len(body))).wait("^status 200")
    error = probes(server, "call", "GET", "/x", PROBE_MAX=str(len(body) - 1)).wait("^error")
    assert f"the response is larger than {len(body) - 1} bytes" in error


def test_a_server_that_says_nothing_meets_the_deadline(servers, probes):
    probe = probes(servers(lambda c: c.recv(1) and False), "call", "GET", "/x", PROBE_TIMEOUT="300")
    assert "DEADLINE_EXCEEDED GET /x: no answer from http://127.0.0.1:" in probe.wait("^error")


def test_a_server_that_drips_meets_the_deadline(servers, probes):
    def drip(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)
    assert "DEADLINE_EXCEEDED" in probes(servers(drip), "call", "GET", "/x", PROBE_TIMEOUT="500").wait("^error")


def test_redirects_are_not_followed(servers, probes):
    server = servers(answer(302, b"", "Location: /elsewhere"))
    probe = probes(server, "call", "GET", "/x")
    assert "redirects are not followed" in probe.wait("^refused")
    assert probe.wait_end() == 0
    assert paths(server) == ["/x"]


def test_retry_after_is_told(servers, probes):
    probe = probes(servers(answer(429, {"reason": "TooManyRequests", "message": "slow"}, "Retry-After: 7")), "call", "GET", "/x")
    probe.wait("^status 429 7000 ")
    probe.wait("^refused API_REFUSED GET /x: 429 TooManyRequests: slow$")


def test_a_patch_goes_out_as_it_was_made(servers, probes):
    server = servers(answer(200, {}))
    probes(server, "call", "PATCH", "/a/b%2Fc?d=e", "application/merge-patch+json", '{"a":[1]}').wait("^status 200")
    head, body = server.requests[0]
    assert head.startswith("PATCH /a/b%2Fc?d=e HTTP/1.1\r\n") and body == b'{"a":[1]}'
    assert "\r\nAuthorization: Bearer sesame" in head and "\r\nContent-Type: application/merge-patch+json" in head
    assert "\r\nUser-Agent: kube-probe/1" in head and "Expect" not in head


def test_no_more_connections_than_allowed_and_each_is_used_again(servers, probes):
    now, most, ports, lock = [0], [0], set(), threading.Lock()

    def slow(connection):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            ports.add(connection.getpeername())
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        connection.sendall(answer(200, {}))
        return True
    probe = probes(servers(slow), "many", "40", "3", "GET", "/x")
    assert probe.wait_end() == 0
    assert probe.count("^status 200") == 40 and most[0] == 3 and len(ports) == 3


def test_a_deadline_counts_from_when_a_call_is_sent(servers, probes):
    def slow(connection):
        time.sleep(0.2)
        connection.sendall(answer(200, {}))
        return True
    probe = probes(servers(slow), "many", "8", "1", "GET", "/x", PROBE_TIMEOUT="1000")
    assert probe.wait_end() == 0
    assert probe.count("^status 200") == 8


def test_a_token_file_is_read_anew_when_it_changes_and_at_401(servers, probes, tmp_path):
    token = tmp_path / "token"
    token.write_text("sesame1\n")
    server = servers(listing(), answer(401, {}), hold())
    probe = probes(server, "watch", "/x", user={"tokenFile": str(token)})
    probe.wait("^listed 0")
    fresh = tmp_path / "fresh"
    fresh.write_text("sesame2\n")
    os.replace(fresh, token)
    probe.wait("^well")
    assert "Bearer sesame2" in server.requests[2][0]


def test_a_user_name_and_password_go_out_as_basic_authentication(servers, probes):
    server = servers(answer(200, {}))
    probes(server, "call", "GET", "/x", user={"username": "admin", "password": "sesame"}).wait("^status 200")
    assert f"\r\nAuthorization: Basic {base64.b64encode(b'admin:sesame').decode()}\r\n" in server.requests[0][0]


def test_requests_go_by_the_proxy_of_the_kubeconfig(servers, probes):
    proxy = servers(answer(200, {}))
    cluster = {"server": "http://kube.example:6443", "proxy-url": f"http://127.0.0.1:{proxy.port}"}
    probes(proxy, "call", "GET", "/x", cluster=cluster).wait("^status 200")
    assert proxy.requests[0][0].startswith("GET http://kube.example:6443/x HTTP/1.1\r\n")


def test_a_proxy_of_the_environment_is_not_for_this_machine(servers, probes):
    proxy, server = servers(answer(403, {})), servers(answer(200, {}))
    env = {name: f"http://127.0.0.1:{proxy.port}" for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy")}
    for host in ("127.0.0.1", "localhost"):
        probes(server, "call", "GET", "/x", cluster={"server": f"http://{host}:{server.port}"}, **env).wait("^status 200")
    assert not proxy.requests
    probes(server, "call", "GET", "/x", cluster={"server": "http://kube.example"}, **env).wait("^status 403")
    assert proxy.requests[0][0].startswith("GET http://kube.example/x HTTP/1.1\r\n")


def test_a_kubeconfig_that_is_written_anew_is_taken_up(servers, probes, tmp_path):
    old, new = servers(listing(), answer(401, {})), servers(listing(), hold())
    probe = probes(old, "watch", "/x")
    probe.wait("^trouble .* 401 ")
    text = (tmp_path / "kubeconfig").read_text()
    (tmp_path / "fresh").write_text(text.replace(str(old.port), "nowhere:x"))
    os.replace(tmp_path / "fresh", tmp_path / "kubeconfig")
    (tmp_path / "kubeconfig").write_text("{")
    assert "INVALID_CONFIG" in probe.wait("^config ")
    (tmp_path / "kubeconfig").write_text(text.replace(str(old.port), str(new.port)).replace("sesame", "sesame2"))
    probe.wait("^config changed")
    probe.wait("^well", 20)
    eventually(lambda: new.requests)
    assert "\r\nAuthorization: Bearer sesame2\r\n" in new.requests[0][0]
    assert probe.count("^config INVALID_CONFIG") == 1, "once, however long it lasts"


class MutualServer(Server):
    """TLS; it takes those clients only whose certificate is signed by `authority`, which may change."""

    def __init__(self, folder, *script):
        self.folder = folder
        for name in ("tls", "old", "new"):
            self.make(name)
        self.authority = "old"
        super().__init__(*script)

    def make(self, name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                        f"/CN={name}", "-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.crt"],
                       check=True, capture_output=True)

    def data(self, name):
        return base64.b64encode((self.folder / name).read_bytes()).decode()

    def user(self, name):
        return {"client-certificate-data": self.data(f"{name}.crt"), "client-key-data": self.data(f"{name}.key")}

    def _serve(self, connection):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.folder / "tls.crt", self.folder / "tls.key")
        tls.load_verify_locations(self.folder / f"{self.authority}.crt")
        tls.verify_mode = ssl.CERT_REQUIRED
        with contextlib.suppress(OSError):
            super()._serve(tls.wrap_socket(connection, server_side=True))


def test_a_certificate_in_a_kubeconfig_that_is_refused_by_now_is_read_anew(probes, tmp_path):
    server = MutualServer(tmp_path, listing(), watch(), broken(b""), hold())
    cluster = {"server": f"https://127.0.0.1:{server.port}", "insecure-skip-tls-verify": True}
    probe = probes(server, "watch", "/x", cluster=cluster, user=server.user("old"))
    probe.wait("^listed 0")
    server.authority = "new"
    probe.wait("^trouble API_UNREACHABLE ", 20)
    config = json.loads((tmp_path / "kubeconfig").read_text())
    config["users"][0]["user"] = server.user("new")
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    probe.wait("^config changed", 20)
    probe.wait("^well", 20)
    server.close()


def test_an_encrypted_key_that_comes_later_is_told_and_the_one_before_goes_on(servers, probes, tmp_path):
    server = servers(listing(), *[watch(event("BOOKMARK", {"metadata": {"resourceVersion": str(n)}})) for n in range(11, 60)], hold())
    for name, text in (("crt", "-----BEGIN CERTIFICATE-----"), ("key", "-----BEGIN PRIVATE KEY-----")):
        (tmp_path / name).write_text(text)
    probe = probes(server, "watch", "/x", user={"client-certificate": str(tmp_path / "crt"), "client-key": str(tmp_path / "key")})
    probe.wait("^listed 0")
    (tmp_path / "key2").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    config = tmp_path / "kubeconfig"
    config.write_text(config.read_text().replace(str(tmp_path / "key"), str(tmp_path / "key2")))
    assert "openssl pkey -in" in probe.wait("^config INVALID_CONFIG .*is encrypted", 20)
    assert probe.count("^trouble") == 0


def test_an_encrypted_key_is_refused_at_the_start(servers, probes, tmp_path):
    (tmp_path / "crt").write_text("-----BEGIN CERTIFICATE-----")
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-aes256", "-pass", "pass:x",
                    "-out", tmp_path / "key"], check=True, capture_output=True)
    user = {"client-certificate": str(tmp_path / "crt"), "client-key": str(tmp_path / "key")}
    probe = probes(servers(answer(200, {})), "call", "GET", "/x", user=user, cluster={"server": "https://127.0.0.1:1"})
    assert f"openssl pkey -in {tmp_path}/key -out" in probe.wait("^error INVALID_CONFIG .*is encrypted")


def test_a_lease_is_over_after_a_suspend_that_was_longer(servers, probes):
    """CLOCK_MONOTONIC stands still meanwhile, and others' clocks do not."""
    lease = answer(201, {"metadata": {"name": "l"}, "spec": {}})
    probe = probes(servers(answer(404, {}), lease), "lease", "n", "l", "me", "15000")
    probe.wait("^acquired held")
    probe.process.send_signal(signal.SIGUSR1)
    assert probe.wait("^slept ") == "slept not held"


def test_a_proxy_sees_no_token_of_a_tls_server_and_its_refusal_is_told(servers, probes):
    proxy = servers(answer(403, {}))
    cluster = {"server": "https://kube.example:6443", "proxy-url": f"http://127.0.0.1:{proxy.port}"}
    assert "403" in probes(proxy, "call", "GET", "/x", cluster=cluster).wait("^error API_UNREACHABLE GET /x: ")
    assert proxy.requests[0][0].startswith("CONNECT kube.example:6443 HTTP/1.1\r\n")
    assert "Authorization" not in proxy.requests[0][0]


def test_calls_in_the_background_give_way_and_are_two_at_most(servers, probes):
    server = servers(answer(200, {}))
    assert probes(server, "many", "20", "1", "GET", "/x", "/later").wait_end() == 0
    assert paths(server) == ["/x"] * 20 + ["/later"] * 20
    silent = servers(lambda c: c.recv(1) and False)
    probes(silent, "many", "4", "20", "GET", "/x", "/later")
    eventually(lambda: len(paths(silent)) == 6)
    assert sorted(paths(silent)) == ["/later"] * 2 + ["/x"] * 4


# ---- Tests: watch

def test_a_bookmark_that_goes_back_lists_again(servers, probes):
    back = event("BOOKMARK", {"metadata": {"resourceVersion": "5"}})
    server = servers(listing(item("a", "1", 9)), hold(back), listing(item("b", "2", 4), version="5"), hold())
    probe = probes(server, "watch", "/x")
    probe.wait("^deleted a 1 missing")
    probe.wait("^listed 1", times=2)
    eventually(lambda: len(paths(server)) == 4)
    assert "resourceVersion=5" in paths(server)[3]


def test_pages_are_read_to_the_end_and_the_watch_starts_at_their_version(servers, probes):
    server = servers(listing(item("a", "1", 5), **{"continue": "p&2"}), listing(item("b", "2", 6)),
                     hold(event("ADDED", item("c", "3", 11)), event("DELETED", item("a", "1", 12))))
    probe = probes(server, "watch", "/x", "1")
    probe.wait("^deleted a 1 seen")
    assert probe.seen == ["object a 5", "object b 6", "listed 2", "object c 11", "deleted a 1 seen"]
    assert paths(server)[:2] == ["/x?limit=1", "/x?limit=1&continue=p%262"]
    assert re.fullmatch(r"/x\?watch=true&allowWatchBookmarks=true&timeoutSeconds=\d+&resourceVersion=10", paths(server)[2])
    assert probe.stop() == 0


def test_a_page_that_expired_starts_the_list_afresh(servers, probes):
    server = servers(listing(item("a", "1", 5), **{"continue": "2"}), answer(410, {"reason": "Expired"}),
                     listing(item("a", "1", 5)), hold())
    probe = probes(server, "watch", "/x", "1")
    probe.wait("^listed 1")
    assert paths(server)[:3] == ["/x?limit=1", "/x?limit=1&continue=2", "/x?limit=1"]
    assert probe.count("^deleted") == 0 and probe.count("^trouble") == 0


def test_a_watch_that_ends_goes_on_where_it_was(servers, probes):
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "20"}})
    server = servers(listing(), watch(event("ADDED", item("a", "1", 15)), bookmark), hold())
    probe = probes(server, "watch", "/x")
    probe.wait("^object a 15")
    eventually(lambda: len(paths(server)) >= 3)
    assert paths(server)[2].endswith("resourceVersion=20")
    assert probe.count("^trouble") == 0


@pytest.mark.parametrize("gone", [answer(410, {"reason": "Expired"}), watch(event("ERROR", {"code": 410, "reason": "Expired"}))])
def test_gone_lists_again_and_tells_what_is_missing(servers, probes, gone):
    server = servers(listing(item("a", "1", 5), item("b", "2", 6)), gone, listing(item("b", "3", 30), version="31"), hold())
    probe = probes(server, "watch", "/x")
    probe.wait("^listed 1")
    assert probe.seen == ["object a 5", "object b 6", "listed 2", "deleted b 2 missing", "object b 30", "deleted a 1 missing",
                          "listed 1"]


@pytest.mark.parametrize("data", [
    CHUNKED + chunk(event("ADDED", item("a", "1", 15)) + b'{"type":"ADDED","object":{"meta'),
    CHUNKED + chunk(event("ADDED", item("a", "1", 15)) + b'{"type":"ADDED","object":{"meta') + b"0\r\n\r\n",
    CHUNKED + chunk(event("ADDED", item("a", "1", 15)) + b"rubbish\n"),
])
def test_half_an_event_is_none_and_the_watch_goes_on_before_it(servers, probes, data):
    server = servers(listing(), broken(data), hold(event("ADDED", item("b", "2", 16))))
    probe = probes(server, "watch", "/x")
    probe.wait("^object b 16")
    assert [line.split(" ")[0] for line in probe.seen] == ["listed", "object", "trouble", "well", "object"]
    assert paths(server)[2].endswith("resourceVersion=15")


def test_a_refusal_of_a_watch_that_is_no_json_is_one_all_the_same(servers, probes):
    page = b"404 page not found\n"
    server = servers(listing(item("a", "1", 5)), watch(event("MODIFIED", item("a", "1", 11)), page), answer(404, page),
                     listing(item("b", "2", 6), version="21"), hold())
    probe = probes(server, "watch", "/x")
    probe.wait("^object b 6", 20)
    assert [re.search("limit|watch", path)[0] for path in paths(server)[:4]] == ["limit", "watch", "watch", "limit"]


def test_a_server_that_closes_every_watch_at_once_is_no_hot_loop(servers, probes):
    server = servers(listing(), watch())
    probe = probes(server, "watch", "/x")
    probe.wait("^listed")
    time.sleep(3)
    assert len(server.at) <= 7, "back-off doubles from 125 ms at least"


def test_watches_that_end_soon_but_bring_something_are_begun_anew_soon(servers, probes):
    server = servers(listing(), *[watch(event("ADDED", item(f"i{n}", f"u{n}", str(11 + n)))) for n in range(12)], hold())
    probe = probes(server, "watch", "/x")
    probe.wait("i11")
    assert len(server.at) >= 13 and max(b - a for a, b in zip(server.at[1:], server.at[2:13])) < 5


def test_retry_after_of_a_list_is_kept(servers, probes):
    server = servers(answer(503, {}, "Retry-After: 1"), listing(), hold())
    probe = probes(server, "watch", "/x")
    probe.wait("^listed 0")
    assert server.at[1] - server.at[0] >= 1
    assert probe.seen[0].startswith("trouble API_REFUSED GET /x: 503") and probe.seen[1] == "well"


def test_a_kind_that_is_not_there_is_told_once_and_found_when_it_comes(servers, probes):
    server = servers(*[answer(404, {"reason": "NotFound"})] * 3, listing(), hold())
    probe = probes(server, "watch", "/x")
    probe.wait("^listed 0")
    assert len(probe.seen) == 3 and "install its CustomResourceDefinition" in probe.seen[0] and probe.seen[1] == "well"


@pytest.mark.parametrize("body", [{"items": []}, {"metadata": {"resourceVersion": "1"}}, [], {"items": {}, "metadata": 3}])
def test_what_is_no_list_is_told(servers, probes, body):
    probe = probes(servers(answer(200, body), listing(), hold()), "watch", "/x")
    probe.wait("^listed 0")
    assert "the answer is no list" in probe.seen[0]


def test_objects_that_make_no_sense_are_told_and_passed_over(servers, probes):
    events = [event("ADDED", {"metadata": {"uid": "1"}}), event("ODD", item("b", "1", 5)), b"[]\n", b"3\n" , event("ADDED", 3),
              event("ADDED", item("a", "1", 15))]
    probe = probes(servers(listing({}, item("x", "9", 2)), hold(*events)), "watch", "/x")
    probe.wait("^object a 15|^trouble .*not JSON")
    assert probe.count("without metadata.name") >= 2 and probe.count("object x 2") == 1
    assert probe.stop() == 0


def test_a_text_with_nul_spoils_no_list(servers, probes):
    odd = item("a", "1", 5)
    odd["metadata"]["annotations"] = {"x": "\0"}
    probes(servers(listing(odd, item("b", "2", 6)), hold()), "watch", "/x").wait("^listed 2")


def test_a_watch_that_brings_nothing_at_all_is_given_up_for_a_list(servers, probes):
    server = servers(listing(), hold(), listing(item("a", "1", 5)), hold())
    probe = probes(server, "watch", "/x", "500", "290", "1000")
    probe.wait("^object a 5")
    assert probe.count("^trouble") == 0


def test_a_line_of_a_watch_is_bounded(servers, probes):
    probe = probes(servers(listing(), hold(b'"' + b"x" * 3000)), "watch", "/x", PROBE_MAX="2000")
    assert "larger than 2000 bytes" in probe.wait("^trouble")


# ---- Tests: what anybody may write into an object

DEEP = "[" * 9000 + "]" * 9000
HOSTILE = ["1" + "0" * 20, r'{"\u0000":1}', DEEP, "1e999", "[" + "0," * 500000 + "0]"]


def raw_item(name, uid, version, spec):
    """An object as text, with a spec that Python's json would not write."""
    text = json.dumps(item(name, uid, version))
    return text[:-1] + f', "spec": {spec}}}'


def raw_listing(*items, version="10", **metadata):
    text = json.dumps({"metadata": {"resourceVersion": version, **metadata}})
    return answer(200, ('{"items": [' + ", ".join(items) + "], " + text[1:]).encode())


def raw_event(kind, text):
    return f'{{"type": "{kind}", "object": {text}}}\n'.encode()


@pytest.mark.parametrize("value", HOSTILE, ids=["number", "name", "nested", "huge", "long"])
def test_what_stands_in_a_field_that_nobody_reads_is_nobodys_trouble(servers, probes, value):
    bad = [raw_item("bad", "1", version, f'{{"bgpConfig": {value}, "address": "a"}}') for version in (5, 11)]
    good = [json.dumps(item("good", "2", version)) for version in (6, 12)]
    server = servers(raw_listing(bad[0], good[0]), hold(raw_event("MODIFIED", bad[1]), raw_event("MODIFIED", good[1])))
    probe = probes(server, "watch", "/x")
    probe.wait("^object good 12")
    assert probe.seen == ["object bad 5", "object good 6", "listed 2", "object bad 11", "object good 12"]


@pytest.mark.parametrize("value, why", [(r'{"\u0000":1}', "a name in it has a NUL character"), (DEEP, "nests deeper than 32 levels")],
                         ids=["name", "nested"])
def test_an_object_that_can_not_be_read_costs_itself_and_is_told_by_its_name(servers, probes, value, why):
    good, bad = json.dumps(item("good", "2", 6)), raw_item("bad", "1", 5, f'{{"list": {value}}}')
    server = servers(raw_listing(bad, good), watch(raw_event("MODIFIED", raw_item("bad", "1", 11, f'{{"list": {value}}}'))),
                     hold(raw_event("MODIFIED", raw_item("bad", "1", 12, "{}"))))
    probe = probes(server, "watch", "/x")
    probe.wait("^object bad 12")
    assert probe.seen[0].startswith(f"problem bad spec.list is left out: ") and why in probe.seen[0]
    assert probe.seen[1:] == ["object bad 5", "object good 6", "listed 2", "object bad 11", "problem bad -", "object bad 12"]
    assert paths(server)[2].endswith("resourceVersion=11"), "what was told of it is not asked for again"


def test_a_page_that_is_too_large_is_asked_for_in_halves(servers, probes):
    objects = [raw_item(f"i{n}", f"u{n}", n, json.dumps({"x": "y" * 600})) for n in range(1, 9)]

    def page(path):
        asked = re.search(r"limit=(\d+)(?:&continue=(\d+))?", path)
        begin = int(asked[2] or 0)
        end = min(begin + int(asked[1]), len(objects))
        return raw_listing(*objects[begin:end], **({"continue": str(end)} if end < len(objects) else {}))
    server = servers(*[ByPath(page)] * 6, hold())
    probe = probes(server, "watch", "/x", "8", PROBE_MAX="2000")
    probe.wait("^listed 8")
    assert [int(re.search(r"limit=(\d+)", path)[1]) for path in paths(server)[:6]] == [8, 4, 2, 2, 2, 2]
    assert probe.count("^trouble") == 0


def test_memory_does_not_grow_with_what_nobody_reads(servers, probes):
    zeros = "[" + "0," * 10_000_000 + "0]"
    probe = probes(servers(raw_listing(raw_item("a", "1", 5, f'{{"x": {zeros}}}')), hold()), "watch", "/x")
    probe.wait("^listed 1", 60)
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{probe.process.pid}/status").read_text())[1])
    assert peak < 100_000, f"{peak} KiB for 20 MB of zeros"


# ---- Tests: a watch that is open and deaf

def test_a_watch_that_was_broken_is_no_good_one_before_it_is_checked(servers, probes):
    """As after a restart of an API server: it answers, and then says that the version is too old."""
    gone = event("ERROR", {"code": 410, "reason": "Expired"})
    server = servers(listing(item("a", "1", 5)), watch(event("MODIFIED", item("a", "1", 11))), *[answer(503, {})] * 4,
                     watch(gone), listing(item("b", "2", 30), version="31"), hold())
    probe = probes(server, "watch", "/x")
    probe.wait("^object b 30", 30)
    assert probe.seen.index("well") > probe.seen.index(next(line for line in probe.seen if line.startswith("trouble")))
    assert probe.seen[-2:] != ["object b 30", "well"] and probe.count("^well") == 1
    assert server.at[7] - server.at[6] < 0.2, "a list at once, whatever the outage has cost"


def test_after_an_outage_a_watch_that_goes_on_is_well_once_it_is_checked(servers, probes):
    server = servers(listing(item("a", "1", 5)), broken(CHUNKED + b"5\r\n"), hold())
    server.checks = [answer(503, {}), answer(200, {"metadata": {"resourceVersion": "11"}, "items": [item("a", "1", 5)]})]
    probe = probes(server, "watch", "/x")
    probe.wait("^trouble .*503", 20)
    assert probe.count("^well") == 0, "it is open, and nobody knows whether it brings anything"
    probe.wait("^well", 20)
    assert len(server.checked) == 2 and len(paths(server)) == 3


def test_versions_that_went_back_are_noticed_while_a_watch_is_silent(servers, probes):
    server = servers(listing(item("a", "1", 9), item("b", "2", 8)), hold(), listing(item("a", "1", 4), version="5"), hold())
    server.checks = [listing(item("a", "1", 4), version="5")]
    probe = probes(server, "watch", "/x", "500", "290", "150000", "300")
    probe.wait("^trouble .*went back from resourceVersion 10 to 5, as after a restore of etcd")
    probe.wait("^deleted b 2 missing")
    probe.wait("^listed 1")
    assert len(server.checked) == 1


def test_objects_that_a_silent_watch_has_not_told_of_lead_to_a_list(servers, probes):
    server = servers(listing(item("a", "1", 5)), hold(), listing(item("a", "1", 5), item("b", "2", 20), version="21"), hold())
    server.checks = [listing(item("a", "1", 5), version="21", **{"continue": "a", "remainingItemCount": 1})]
    probe = probes(server, "watch", "/x", "500", "290", "150000", "300")
    probe.wait("^trouble .*has 2 objects, and its watch told of 1")
    probe.wait("^object b 20")
    assert len(server.checked) == 3, "it is asked again before it counts, as an event may be under way"


def test_counts_that_are_wrong_all_the_time_are_not_listed_for_again_and_again(servers, probes):
    server = servers(listing(item("a", "1", 5)), hold())
    server.script = [listing(item("a", "1", 5)), hold(), listing(item("a", "1", 5)), hold()]
    server.checks = [listing(item("a", "1", 5), version="21", **{"continue": "a", "remainingItemCount": 1})]
    probe = probes(server, "watch", "/x", "500", "290", "150000", "200")
    probe.wait("^listed 1", times=2)
    eventually(lambda: len(server.checked) >= 10, seconds=20)
    assert len(paths(server)) == 4


def test_a_watch_with_work_is_not_checked(servers, probes):
    def busy(connection):
        connection.sendall(CHUNKED)
        for n in range(20):
            connection.sendall(chunk(event("MODIFIED", item("a", "1", 11 + n))))
            time.sleep(0.05)
        return False
    server = servers(listing(item("a", "1", 5)), busy, hold())
    probe = probes(server, "watch", "/x", "500", "290", "150000", "600")
    probe.wait("^object a 30")
    assert not server.checked


# ---- Tests: a kind that is not there

KIND = "/apis/novaedge.io/v1alpha1/proxyvips"


@pytest.mark.parametrize("discovery, says", [
    ({"/apis/novaedge.io/v1alpha1": answer(404, {}), "/apis/novaedge.io": answer(404, {})},
     "does not know this kind of object, proxyvips of novaedge.io/v1alpha1: install its CustomResourceDefinition"),
    ({"/apis/novaedge.io/v1alpha1": answer(200, {"resources": [{"name": "proxyippools"}, {"name": "proxyvips/status"}]})},
     "does not know this kind of object, proxyvips of"),
    ({"/apis/novaedge.io/v1alpha1": answer(404, {}), "/apis/novaedge.io": answer(200, {"versions": [{"version": "v1"}, {"version": "v2"}]})},
     "serves novaedge.io in version v1, v2 only: install a CustomResourceDefinition of proxyvips that serves v1alpha1"),
    ({"/apis/novaedge.io/v1alpha1": answer(503, {})}, "GET /apis/novaedge.io/v1alpha1/proxyvips: 404 NotFound"),
], ids=["group", "kind", "version", "unknown"])
def test_what_is_missing_is_told(servers, probes, discovery, says):
    server = servers(answer(404, {}), listing(), hold())
    server.discovery = discovery
    probe = probes(server, "watch", KIND)
    probe.wait("^listed 0")
    assert says in probe.seen[0] and probe.seen[1] == "well"


def test_a_kind_that_is_taken_away_while_it_is_watched_is_told_as_at_the_start(servers, probes):
    server = servers(listing(item("a", "1", 5)), watch(event("MODIFIED", item("a", "1", 11))), answer(404, {}), answer(404, {}),
                     listing(), hold())
    server.discovery = {"/apis/novaedge.io/v1alpha1": answer(404, {}), "/apis/novaedge.io": answer(404, {})}
    probe = probes(server, "watch", KIND)
    probe.wait("^listed 0")
    troubles = [line for line in probe.seen if line.startswith("trouble")]
    assert len(troubles) == 1 and "install its CustomResourceDefinition" in troubles[0]


@pytest.mark.parametrize("what, wanted, answers", [
    ("object", "absent object", {"resources": [{"name": "proxyvips"}, {"name": "proxyvips/status"}]}),
    ("status", "absent status API_REFUSED .*has no subresource status.*install one with subresources: {status: {}}",
     {"resources": [{"name": "proxyvips"}]}),
    ("unknown", "absent unknown API_UNREACHABLE ", b"<html/>"),
])
def test_a_404_is_told_apart(servers, probes, what, wanted, answers):
    server = servers(answer(500, {}))
    server.discovery = {"/apis/novaedge.io/v1alpha1": answer(200, answers)}
    assert re.search(f"^{wanted}", probes(server, "absence", KIND).wait("^absent"))


# ---- Tests: the frame

def health(address, path, method="GET"):
    option = ["--unix-socket", str(address), f"http://x{path}"] if str(address).startswith("/") else [f"http://{address}{path}"]
    head = ["-I"] if method == "HEAD" else ["-X", method]
    done = subprocess.run(["curl", "-sS", "-i", *head, *option], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.replace("\r", "").partition("\n\n")
    return int(head.split(" ")[1]), head, body


def test_once_ends_when_all_is_done(servers, probes):
    server = servers(answer(200, {}))
    probe = probes(server, "--once", "--requests", "3", program=PROGRAM)
    assert probe.wait_end() == 0
    assert paths(server) == ["/version"] * 3


def test_once_that_can_not_go_on_says_why_by_its_status(servers, probes):
    probe = probes(servers(broken(b"")), "--once", program=PROGRAM)
    assert probe.wait_end() == 7
    probe.wait("error +giving up: GET /version: ")


def test_a_server_that_hangs_holds_no_stop_up(servers, probes):
    server = servers(lambda c: c.recv(1) and False)
    probe = probes(server, program=PROGRAM)
    probe.wait("acting")
    eventually(lambda: server.requests)
    begin = time.monotonic()
    assert probe.stop() == 0
    assert time.monotonic() - begin < 5, "it was to be given up, not waited for"


def test_health_tells_what_is_wrong_and_what_is_counted(servers, probes, daemon, tmp_path):
    socket_path = tmp_path / "health.sock"
    probe = probes(servers(answer(200, {})), "--socket", daemon.socket, "--health", socket_path, program=PROGRAM)
    probe.wait("acting")
    eventually(lambda: health(socket_path, "/readyz")[0] == 200)
    assert health(socket_path, "/healthz")[2] == "ok\n"
    status, head, body = health(socket_path, "/metrics")
    assert status == 200 and "text/plain; version=0.0.4" in head
    assert "ipam_acting 1\n" in body and "ipam_ipamd_connected 1\n" in body and "probe_asked 1\n" in body
    assert "ipam_kube_requests_total 1\n" in body and 'ipam_kube_errors_total{error="conflict"} 0\n' in body
    assert 'ipam_kube_errors_total{error="undefined"} 0\n' in body
    assert health(socket_path, "/metrics", "HEAD")[::2] == (200, "")
    assert health(socket_path, "/other")[0] == 404
    status, head, _ = health(socket_path, "/readyz", "POST")
    assert status == 405 and "Allow: GET, HEAD" in head
    daemon.stop()
    probe.wait("ipamd: not connected to .*is ipamd running")
    status, _, body = health(socket_path, "/readyz")
    assert status == 503 and body.startswith("ipamd: not connected")
    daemon.start()
    probe.wait("ipamd: well again")
    assert health(socket_path, "/readyz")[0] == 200
    assert probe.stop() == 0
    assert not socket_path.exists()


@pytest.mark.parametrize("address, says", [
    ("0.0.0.0:9000", "no loopback address"), ("[::]:9000", "no loopback address"), ("example.org:80", "no loopback address"),
    ("127.0.0.1", "no port"), ("127.0.0.1:0", "no port"), ("127.0.0.1:65536", "no port"), ("[::1]", "no port"),
    ("/" + "x" * 108, "longer than the 107 bytes"), ("/nowhere/health.sock", "can't be opened: No such file"),
])
def test_a_health_address_that_can_not_be_used_is_told(servers, probes, address, says):
    probe = probes(servers(b""), "--health", address, program=PROGRAM)
    assert probe.wait_end() in (2, 7)
    probe.wait(f"start: health address {re.escape(address)}.*{says}")


def test_a_loopback_port_serves_health_too(servers, probes):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    probes(servers(answer(200, {})), "--health", f"localhost:{port}", program=PROGRAM).wait("acting")
    assert health(f"127.0.0.1:{port}", "/healthz")[::2] == (200, "ok\n")


def test_systemd_is_told_of_start_state_and_end(servers, probes, tmp_path):
    notifications = Notifications(tmp_path / "notify")
    probe = probes(servers(answer(200, {})), "--socket", "/nowhere", program=PROGRAM, NOTIFY_SOCKET=notifications.path,
                   WATCHDOG_USEC="200000")
    for wanted in ("READY=1", "STATUS=Acting", "WATCHDOG=1",
                   "STATUS=ipamd: not connected to /nowhere; is ipamd running, and may this user connect?"):
        assert notifications.wait(wanted, 10), wanted
    assert probe.stop() == 0
    assert notifications.wait("STOPPING=1", 10)
    notifications.close()


def full(path):
    """A NOTIFY_SOCKET that nobody reads, with no room left."""
    reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    reader.bind(str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler, contextlib.suppress(BlockingIOError):
        filler.connect(str(path))
        filler.setblocking(False)
        while True:
            filler.send(b"X=1")
    return reader


def test_a_systemd_that_reads_nothing_stops_nobody(servers, probes, tmp_path):
    with full(tmp_path / "notify"):
        probe = probes(servers(answer(200, {})), "--socket", "/nowhere", program=PROGRAM, WATCHDOG_USEC="2000",
                       NOTIFY_SOCKET=str(tmp_path / "notify"))
        probe.wait("waiting up to 5 s with READY=1")
        probe.wait("systemd was not told READY=1, ignoring")
        probe.wait("ipamd: not connected to /nowhere")
        assert probe.stop() == 0


def test_ready_waits_for_room_and_is_not_lost(servers, probes, tmp_path):
    with full(tmp_path / "notify") as reader:
        probe = probes(servers(answer(200, {})), program=PROGRAM, NOTIFY_SOCKET=str(tmp_path / "notify"))
        probe.wait("waiting up to 5 s with READY=1")
        reader.settimeout(10)
        while reader.recv(4096) != b"READY=1":
            pass
        probe.wait("acting")
        assert probe.count("was not told") == 0


def test_what_does_not_end_in_time_is_left(servers, probes):
    lease = answer(201, {"metadata": {"name": "p"}, "spec": {}})
    server = servers(answer(404, {}), lease, lambda c: c.recv(1) and False)
    probe = probes(server, "--leader-elect", "--shutdown-timeout", "1", program=PROGRAM, ASAN_OPTIONS="detect_leaks=0")
    probe.wait("acting: the lease is held")
    assert probe.stop() == 0
    probe.wait("did not end within 1 s, leaving it")


def test_one_that_slept_through_the_end_of_its_lease_sends_nothing_after_it(probes, tmp_path):
    server = TlsServer(tmp_path, answer(404, {}), answer(201, {"metadata": {"name": "p"}, "spec": {}}))
    cluster = {"server": f"https://127.0.0.1:{server.port}", "insecure-skip-tls-verify": True}
    probe = probes(server, "--leader-elect", "--lease-duration", "8", "--method", "POST", program=PROGRAM, cluster=cluster)
    probe.wait("acting: the lease is held")
    assert server.hello.wait(10)
    probe.process.send_signal(signal.SIGSTOP)
    time.sleep(6)  # longer than it may act without renewal, two thirds of the duration
    server.go.set()
    server.answered.wait(10)
    probe.process.send_signal(signal.SIGCONT)
    probe.wait("not acting any more")
    assert server.over.wait(20) and server.late == b""
    server.close()


def test_a_health_port_that_is_taken_is_told(servers, probes):
    server = servers(b"")
    probe = probes(server, "--health", f"localhost:{server.port}", program=PROGRAM)
    assert probe.wait_end() == 7
    probe.wait("can't be opened: Address already in use")


def test_a_socket_left_behind_is_no_hindrance(servers, probes, tmp_path):
    path = tmp_path / "health.sock"
    first = probes(servers(answer(200, {})), "--health", path, program=PROGRAM)
    first.wait("acting")
    second = probes(servers(answer(200, {})), "--health", path, program=PROGRAM)
    assert second.wait_end() == 7
    first.kill()
    assert path.exists()
    third = probes(servers(answer(200, {})), "--health", path, program=PROGRAM)
    third.wait("acting")
    assert health(path, "/healthz")[0] == 200
    assert third.stop() == 0


@pytest.mark.parametrize("address", ["localhost:{port}", "{folder}/health.sock"])
def test_those_who_connect_and_say_nothing_keep_nobody_from_asking(servers, probes, tmp_path, address):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = address.format(port=port, folder=tmp_path)
    probes(servers(answer(200, {})), "--health", address, program=PROGRAM).wait("acting")
    idle = []
    option = ["--unix-socket", address, "http://x/healthz"] if address.startswith("/") else [f"http://{address}/healthz"]
    for _ in range(3):
        for _ in range(40):
            idle.append(socket.socket(socket.AF_UNIX if address.startswith("/") else socket.AF_INET))
            idle[-1].setblocking(False)
            with contextlib.suppress(BlockingIOError):
                idle[-1].connect(address if address.startswith("/") else ("127.0.0.1", port))
        done = subprocess.run(["curl", "-sS", "-m", "6", *option], capture_output=True, text=True, check=False)
        assert done.stdout == "ok\n", done.stderr
    for connection in idle:
        connection.close()


def test_idle_and_excess_health_connections_hold_nobody_up(servers, probes, tmp_path):
    path = str(tmp_path / "health.sock")
    probes(servers(answer(200, {})), "--health", path, program=PROGRAM).wait("acting")
    idle = []
    for _ in range(40):
        idle.append(socket.socket(socket.AF_UNIX))
        idle[-1].connect(path)
        idle[-1].sendall(b"GET /heal")
    for connection in idle[:20]:
        connection.close()
    assert health(path, "/healthz")[0] == 200
    for connection in idle:
        connection.close()
