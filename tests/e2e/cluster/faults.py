"""A proxy between a process and the API server: it counts what passes and breaks what it is told to break.

The process speaks TLS to the proxy (or plain HTTP), the proxy TLS to the real server; tokens pass through, client
certificates can't. It runs in a thread of its own; all its methods may be called from the test.
"""
import asyncio
import collections
import contextlib
import dataclasses
import json
import re
import ssl
import threading
import time

import aiohttp
from aiohttp import web
from yarl import URL

from cluster.servers import free_port
from harness.paths import SLOW

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "proxy-connection", "host"}
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
COLLECTION = re.compile(r"^(/api/v1|/apis/[^/]+/[^/]+)(/namespaces/[^/]+)?/[^/]+$")
CONNECTED_CHECK_SECONDS = 0.05
STOP_SECONDS = 0.1  # what is under way gets, before its connection is cut
GONE = {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
                                    "message": "too old resource version"}}


@dataclasses.dataclass
class Seen:
    """One request that came. verb: get, list, watch, create, update, patch, delete. status: as the process got it, 0 when it
    got none. finished: its whole answer was sent."""
    at: float
    verb: str
    path: str
    query: dict
    agent: str
    body: bytes
    status: int = 0
    sent: int = 0
    finished: bool = False


class Broken(Exception):
    """The connection is to end here, whatever was promised."""


@dataclasses.dataclass
class Rule:
    """Applies to requests of these verbs (none: all) whose path has a match of `path`, as often as `times` says (None: always)."""
    act: object  # coroutine (proxy, passage) → None to go on, or the response
    verbs: tuple = ()
    path: str = ""
    times: int = None
    hits: int = 0

    def takes(self, seen):
        if self.times is not None and self.hits >= self.times:
            return False
        if self.verbs and seen.verb not in self.verbs or not re.search(self.path, seen.path):
            return False
        self.hits += 1
        return True


@dataclasses.dataclass
class Passage:
    """A request on its way, with what rules want of its answer."""
    request: web.Request
    seen: Seen
    cut_after: int = None  # bytes of the answer's body, then the connection ends
    chunk: int = None  # the answer comes in pieces of so many bytes,
    chunk_pause: float = 0.0  # so many seconds apart
    cut_next_event: bool = False


class FaultProxy:
    def __init__(self, cluster, tls=True):
        self.cluster = cluster
        self.tls = tls
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.lock = threading.Lock()
        self.rules = []
        self.seen = []
        self.passages = []  # under way
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    # -- Life

    def start(self):
        self.thread.start()
        self._run(self._start())
        return self

    def stop(self):
        self._run(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30 * SLOW)

    async def _start(self):
        trust = ssl.create_default_context(cafile=str(self.cluster.authority.ca))
        self.upstream = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, limit=0), auto_decompress=False,
                                              timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                                              skip_auto_headers=("Content-Type", "User-Agent", "Accept", "Accept-Encoding"))
        self.runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=STOP_SECONDS)
        await self.runner.setup()
        self.site = None
        await self._listen()

    async def _listen(self):
        context = None
        if self.tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*self.cluster.authority.issue_server(f"proxy-{self.port}"))
        self.site = web.TCPSite(self.runner, "127.0.0.1", self.port, ssl_context=context, reuse_address=True,
                                shutdown_timeout=STOP_SECONDS)
        await self.site.start()

    async def _refuse(self):
        if self.site:
            await self.site.stop()
            self.site = None
        await self._drop_connections()

    async def _drop_connections(self):
        for handler in list(self.runner.server.connections):
            if handler.transport:
                handler.transport.abort()

    async def _stop(self):
        await self._refuse()
        while self.passages:
            await asyncio.sleep(CONNECTED_CHECK_SECONDS)
        await self.runner.cleanup()
        await self.upstream.close()

    # -- What to break. `match`: verbs=("patch",), path=r"/status$", times=3. Each returns its Rule, whose hits count.

    def _rule(self, act, verbs=(), path="", times=None):
        rule = Rule(act, (verbs,) if isinstance(verbs, str) else tuple(verbs), path, times)
        with self.lock:
            self.rules.append(rule)
        return rule

    def answer(self, status, retry_after=None, body=None, **match):
        """Answers by itself: 429 (with Retry-After), 500, 503, 401, … body: other than a Status object, as bytes."""
        async def act(passage):
            headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
            content = body if body is not None else json.dumps(_failure(status)).encode()
            return web.Response(status=status, body=content, headers=headers, content_type="application/json")
        return self._rule(act, **match)

    def delay(self, seconds, **match):
        """The request is passed on only after so many seconds."""
        async def act(passage):
            await asyncio.sleep(seconds)
        return self._rule(act, **match)

    def hold(self, event, **match):
        """The request is passed on only once the event is set."""
        async def act(passage):
            while not event.is_set():
                await asyncio.sleep(CONNECTED_CHECK_SECONDS)
        return self._rule(act, **match)

    def hang(self, **match):
        """No answer, the connection stays."""
        return self.delay(86400, **match)

    def trickle(self, chunk, pause, **match):
        """The answer comes in pieces of so many bytes, so many seconds apart."""
        async def act(passage):
            passage.chunk, passage.chunk_pause = chunk, pause
        return self._rule(act, **match)

    def truncate(self, after, **match):
        """The answer's body ends after so many bytes, and the connection with it."""
        async def act(passage):
            passage.cut_after = after
        return self._rule(act, **match)

    def reset(self, **match):
        """The connection ends without an answer; the API server does not get the request."""
        async def act(passage):
            raise Broken
        return self._rule(act, **match)

    def lose_answer(self, **match):
        """The API server does what was asked, and the connection ends before the answer."""
        return self.truncate(-1, **match)

    def gone(self, **match):
        """Watches get 410 Gone as their first event, as when etcd was compacted."""
        async def act(passage):
            return web.Response(body=json.dumps(GONE).encode() + b"\n", content_type="application/json")
        return self._rule(act, verbs="watch", **match)

    def well(self):
        """No rule is in force any more; what hangs goes on hanging until its connection ends."""
        with self.lock:
            self.rules.clear()

    def break_watches(self, mid_event=True, path=""):
        """Breaks the watches under way: each in the middle of its next event, or all at once. Returns how many."""
        with self.lock:
            watches = [p for p in self.passages if p.seen.verb == "watch" and re.search(path, p.seen.path)]
        for passage in watches:
            if mid_event:
                passage.cut_next_event = True
            else:
                self.loop.call_soon_threadsafe(_abort, passage.request)
        return len(watches)

    def drop_connections(self):
        """All connections end at once; new ones are taken."""
        self._run(self._drop_connections())

    @contextlib.contextmanager
    def refused(self):
        """Meanwhile, connections are refused and those that were there are gone."""
        self._run(self._refuse())
        try:
            yield
        finally:
            self._run(self._listen())

    # -- What passed

    def mark(self):
        """For `since`: what came before is not counted."""
        with self.lock:
            return len(self.seen)

    def requests(self, *verbs, path="", since=0):
        with self.lock:
            seen = self.seen[since:]
        return [s for s in seen if (not verbs or s.verb in verbs) and re.search(path, s.path)]

    def count(self, *verbs, path="", since=0):
        return len(self.requests(*verbs, path=path, since=since))

    def busiest_second(self, *verbs, path="", since=0):
        """The most requests that came within any one second: what a hot loop shows in."""
        window, most = collections.deque(), 0
        for seen in self.requests(*verbs, path=path, since=since):
            window.append(seen.at)
            while window[0] <= seen.at - 1:
                window.popleft()
            most = max(most, len(window))
        return most

    def watches(self, path=""):
        """How many watches are under way."""
        with self.lock:
            return sum(p.seen.verb == "watch" and bool(re.search(path, p.seen.path)) for p in self.passages)

    # -- Passing on

    async def _handle(self, request):
        seen = Seen(time.monotonic(), _verb(request), request.path, dict(request.query), request.headers.get("User-Agent", ""),
                    await request.read())
        passage = Passage(request, seen)
        with self.lock:
            self.seen.append(seen)
            self.passages.append(passage)
        try:
            return await self._pass_while_connected(passage)
        except (Broken, aiohttp.ClientError, ConnectionError, asyncio.CancelledError):
            if request.transport:
                request.transport.close()
            return web.Response(status=502)  # to a closed connection
        finally:
            with self.lock:
                self.passages.remove(passage)

    async def _pass_while_connected(self, passage):
        """A process that is gone ends its watches: the API server is not left with them."""
        passing = asyncio.ensure_future(self._pass(passage))
        try:
            while not passing.done():
                await asyncio.wait({passing}, timeout=CONNECTED_CHECK_SECONDS)
                if passage.request.transport is None:
                    passing.cancel()
            return passing.result()
        finally:
            passing.cancel()

    async def _pass(self, passage):
        with self.lock:
            rules = [rule for rule in self.rules if rule.takes(passage.seen)]
        for rule in rules:
            response = await rule.act(passage)
            if response is not None:
                passage.seen.status, passage.seen.finished = response.status, True
                return response
        headers = [(k, v) for k, v in passage.request.headers.items() if k.lower() not in HOP_BY_HOP]
        url = self.cluster.url + passage.request.raw_path
        async with self.upstream.request(passage.request.method, URL(url, encoded=True), headers=headers,
                                         data=passage.seen.body or None, allow_redirects=False) as answer:
            return await self._answer(passage, answer)

    async def _answer(self, passage, answer):
        if passage.cut_after == -1:
            await answer.read()
            raise Broken
        headers = [(k, v) for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP]
        response = web.StreamResponse(status=answer.status, headers=headers)
        passage.seen.status = answer.status
        await response.prepare(passage.request)
        async for data in answer.content.iter_any():
            await self._send(passage, response, data)
        await response.write_eof()
        passage.seen.finished = True
        return response

    async def _send(self, passage, response, data):
        if passage.cut_next_event:
            await self._write_and_break(passage, response, data[:_middle_of_last_event(data)])
        if passage.cut_after is not None and passage.seen.sent + len(data) >= passage.cut_after:
            await self._write_and_break(passage, response, data[:passage.cut_after - passage.seen.sent])
        step = passage.chunk or len(data)
        for begin in range(0, len(data), step):
            piece = data[begin:begin + step]
            await response.write(piece)
            passage.seen.sent += len(piece)
            await asyncio.sleep(passage.chunk_pause)

    async def _write_and_break(self, passage, response, data):
        if data:
            await response.write(data)
            passage.seen.sent += len(data)
        raise Broken


def _abort(request):
    if request.transport:
        request.transport.abort()


def _verb(request):
    if request.method != "GET":
        return VERBS.get(request.method, request.method.lower())
    if request.query.get("watch") in ("1", "true"):
        return "watch"
    return "list" if COLLECTION.match(request.path) else "get"


def _middle_of_last_event(data):
    begin = data.rstrip(b"\n").rfind(b"\n") + 1
    return begin + (len(data) - begin) // 2


def _failure(status):
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": "InjectedByTest",
            "message": f"the test's proxy answers {status}"}
