"""The client of a zbus broker: one file, Python 3.11, nothing but the standard library.

    from zbus import Client

    zbus = Client("http://127.0.0.1:15555", token=None)
    zbus.publish("orders", b"two pizzas", id="order-7")
    for m in zbus.pull("orders", "billing", max=10, timeout=5):
        print(m.offset, m.body)
        m.ack()

Client uses the HTTP API; its methods may be called by any number of threads. For what happens inside,
Socket is one WebSocket: stream() delivers messages as they come, and serve() answers calls.
"""

import base64
import hashlib
import http.client
import json
import os
import secrets
import socket
import ssl
import struct
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CallError", "Client", "Message", "Published", "Socket", "ZbusError"]

BASE = "/api/v1"
QUIET = 90  # seconds without a word: the broker pings who is silent for half a minute
MAYBE = ("unknown", "timeout", "provider_gone")


class ZbusError(Exception):
    """What the broker refused, or what nobody knows the outcome of.

    code is for programs, as in openapi.yaml; problem is all that the broker said.
    """

    def __init__(self, code: str, detail: str, problem: dict | None = None):
        super().__init__(detail)
        self.code, self.problem = code, problem or {}

    @property
    def maybe(self) -> bool:
        """Whether it may have been done although it failed."""
        return self.code in MAYBE


class CallError(Exception):
    """An error of a service: raised by its methods, and by call()."""

    def __init__(self, message: str, status: int = 500, code: str | None = None, data: Any = None):
        super().__init__(message)
        self.message, self.status, self.code, self.data = message, status, code, data


def _error(problem: dict) -> Exception:
    detail = problem.get("detail", "the broker failed")
    if problem.get("code") != "call_failed":
        return ZbusError(problem.get("code", "internal"), detail, problem)
    said = problem.get("error")
    code = data = None
    if isinstance(said, dict):
        code = said.get("code")
        data = said.get("data", None if "code" in said else said)
    return CallError(detail, problem.get("status", 500), code, data)


@dataclass(frozen=True)
class Published:
    """What became of a message: duplicate says that its id was known, and nothing was stored."""

    id: str
    offset: int
    duplicate: bool = False


@dataclass
class Message:
    """A message that was delivered. In an explicit group it has to be settled."""

    topic: str
    group: str
    offset: int
    id: str
    body: bytes
    tag: str = ""
    key: str = ""
    headers: dict = field(default_factory=dict)
    delivery_count: int = 1
    handle: str | None = None
    _settle: Callable[..., None] | None = field(default=None, repr=False, compare=False)

    def json(self) -> Any:
        return json.loads(self.body)

    def ack(self) -> None:
        """It is done. Returns when that is on disk."""
        self._do("ack")

    def nack(self, delay: float = 0) -> None:
        """The message is delivered again, after a delay in seconds."""
        self._do("nack", delay=int(delay * 1000))

    def extend(self) -> None:
        """The time for its ack begins anew."""
        self._do("extend")

    def _do(self, what: str, **more: Any) -> None:
        if self.handle is None or self._settle is None:
            raise ZbusError("invalid", "only messages of explicit groups are acked")
        self._settle(what, handles=[self.handle], **more)


def _message(d: dict, topic: str, group: str, settle: Callable[..., None]) -> Message:
    body = base64.b64decode(d["bodyBase64"]) if "bodyBase64" in d else d.get("body", "").encode()
    return Message(
        topic, group, int(d["offset"]), d["id"], body, d.get("tag", ""), d.get("key", ""), d.get("headers", {}),
        d.get("deliveryCount", 1), d.get("handle"), settle,
    )


def _new_message(body: bytes | str, id: str | None, tag: str | None, key: str | None, headers: dict | None) -> dict:
    m: dict[str, Any] = {"id": id or secrets.token_hex(16)}
    if isinstance(body, bytes):
        try:
            m["body"] = body.decode()
        except UnicodeDecodeError:
            m["bodyBase64"] = base64.b64encode(body).decode()
    else:
        m["body"] = body
    m.update({k: v for k, v in {"tag": tag, "key": key, "headers": headers}.items() if v})
    return m


def _published(r: dict) -> Published:
    return Published(r["id"], int(r["offset"]), r.get("duplicate", False))


def _path(*parts: str) -> str:
    return "/" + "/".join(urllib.parse.quote(p, safe="") for p in parts)


class Client:
    """The HTTP API of one broker.

    retry is for how many seconds a publish is sent again, with the same ids, when nobody knows
    what became of it or there is no connection: it is stored once, as long as the broker knows
    its id (--dedup-window).
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 30, retry: float = 30, context: ssl.SSLContext | None = None):
        self._url = urllib.parse.urlsplit(url)
        self._token, self._timeout, self._retry, self._context = token, timeout, retry, context
        self._local = threading.local()  # a connection for each thread

    def _connection(self) -> http.client.HTTPConnection:
        conn = getattr(self._local, "conn", None)
        if conn is None:
            host, port = self._url.hostname, self._url.port
            if self._url.scheme == "https":
                conn = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
            else:
                conn = http.client.HTTPConnection(host, port, timeout=self._timeout)
            self._local.conn = conn
        return conn

    def request(self, method: str, path: str, body: Any = None, wait: float = 0) -> Any:
        """Makes a request of the API, whose path begins behind /api/v1, and returns its JSON."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        conn = self._connection()
        try:
            if conn.sock is None:
                conn.timeout = self._timeout
                conn.connect()
            conn.sock.settimeout(self._timeout + wait)
        except OSError as e:
            conn.close()
            raise ZbusError("unavailable", f"no connection to {self._url.netloc}: {e}") from e
        try:
            conn.request(method, BASE + path, data, headers)
            res = conn.getresponse()
            text = res.read()
        except (OSError, http.client.HTTPException) as e:
            conn.close()
            raise ZbusError("unknown", f"the connection was lost, and it may have been done: {e}") from e
        if res.status < 300:
            return json.loads(text) if text else None
        problem = {"code": "unavailable" if res.status == 503 else "internal", "status": res.status, "detail": f"{res.status} {text[:200]!r}"}
        try:
            problem |= json.loads(text)
        except ValueError:
            pass  # it was refused before it was read, or is not from a broker
        raise _error(problem)

    def publish(self, topic: str, body: bytes | str = b"", *, id: str | None = None, tag: str | None = None, key: str | None = None, headers: dict | None = None) -> Published:
        """Stores a message. Returns when it is on disk."""
        return self.publish_all(topic, [_new_message(body, id, tag, key, headers)])[0]

    def publish_all(self, topic: str, messages: list[dict]) -> list[Published]:
        """Stores messages in one commit, all or none. They are as in the API: id, tag, key,
        headers, and body or bodyBase64."""
        messages = [{"id": secrets.token_hex(16)} | m for m in messages]
        end, pause = time.monotonic() + self._retry, 0.05
        while True:
            try:
                return [_published(r) for r in self.request("POST", _path("topics", topic, "messages"), messages)["results"]]
            except ZbusError as e:
                lost = e.code == "unknown" or (e.code == "unavailable" and not e.problem)
                if not lost or time.monotonic() + pause > end:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 2)

    def pull(self, topic: str, group: str, *, max: int = 1, timeout: float = 0) -> list[Message]:
        """Takes up to max messages, and waits up to timeout seconds for the first."""
        got = self.request("POST", _path("topics", topic, "groups", group) + ":pull", {"max": max, "timeout": int(timeout * 1000)}, wait=timeout)

        def settle(what: str, **more: Any) -> None:
            self.request("POST", f"{_path('topics', topic, 'groups', group)}:{what}", more)

        return [_message(d, topic, group, settle) for d in got["deliveries"]]

    def call(self, topic: str, method: str, *params: Any, module: str | None = None, timeout: float | None = None) -> Any:
        """Calls a method of a service, once. Raises CallError for an error of the service."""
        query = {}
        if module:
            query["module"] = module
        if timeout is not None:
            query["timeout"] = str(max(1, int(timeout * 1000)))
        path = _path("rpc", topic, method) + ("?" + urllib.parse.urlencode(query) if query else "")
        return self.request("POST", path, list(params), wait=timeout or 600)

    def create_topic(self, name: str, **more: Any) -> dict:
        return self.request("POST", "/topics", {"name": name} | more)

    def create_group(self, topic: str, name: str, **more: Any) -> dict:
        return self.request("POST", _path("topics", topic, "groups"), {"name": name} | more)

    def browse(self, topic: str, **query: Any) -> dict:
        """Reads the log without consuming it: from, time, id, dir, limit, tag, text."""
        return self.request("GET", _path("topics", topic, "messages") + "?" + urllib.parse.urlencode({k.rstrip("_"): v for k, v in query.items()}))

    def close(self) -> None:
        """Closes the connection of this thread. The next request makes another one."""
        conn = getattr(self._local, "conn", None)
        if conn is not None:
            conn.close()

    def socket(self) -> "Socket":
        """Opens a WebSocket."""
        return Socket(self._url.geturl(), self._token, timeout=self._timeout, context=self._context)

    def stream(self, topic: str, group: str | None = None, *, window: int = 100, **more: Any) -> Iterator[Message]:
        """Delivers messages as they come, over connections: see Socket.stream for its arguments.

        Without a group it continues after the last message after a lost connection. In an explicit
        group what was not acked comes again, and an ack of before raises ZbusError. An auto group
        loses what is on its way, so there the error of the connection is raised.
        """
        pause = 0.1
        while True:
            try:
                with self.socket() as s:
                    settle, messages = s.subscribe(topic, group, window=window, **more)
                    if "start" in more or group is None:
                        more.pop("start", None)
                        more["after"] = s.after
                    for m in messages:
                        pause = 0.1
                        if group is None:
                            more["after"] = str(m.offset)
                        yield m
                    return
            except ZbusError as e:
                lost = e.code in ("unknown", "unavailable") or (e.code == "internal" and not e.problem)
                if not lost or (group is not None and "settle" in locals() and settle == "auto"):
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 5)


class Socket:
    """One WebSocket of the API. It is used by one thread; when it is lost, ZbusError is raised."""

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 30, context: ssl.SSLContext | None = None):
        u = urllib.parse.urlsplit(url)
        port = u.port or (443 if u.scheme == "https" else 80)
        self.after = "-1"
        self._refs, self._parts = 0, b""
        self._frames: deque[dict] = deque()  # that came before an answer; as many as there is credit
        self._lock = threading.Lock()  # of writing
        self._buffer = bytearray()
        try:
            self._sock = socket.create_connection((u.hostname, port), timeout)
            if u.scheme == "https":
                self._sock = (context or ssl.create_default_context()).wrap_socket(self._sock, server_hostname=u.hostname)
            self._handshake(u, token)
        except OSError as e:
            raise ZbusError("unavailable", f"no connection to {u.netloc}: {e}") from e
        self._sock.settimeout(QUIET)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _handshake(self, u: urllib.parse.SplitResult, token: str | None) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {BASE}/ws HTTP/1.1", f"Host: {u.netloc}", "Connection: Upgrade", "Upgrade: websocket",
            "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
        ]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        self._sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        proof = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        if status == 101 and proof in head:
            self._buffer = bytearray(rest)
            return
        problem: dict = {"code": "unavailable" if status == 503 else "internal", "status": status, "detail": f"the handshake was answered with {status}"}
        length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while length and len(rest) < length[0]:
            self._buffer.clear()
            self._fill()
            rest += bytes(self._buffer)
        try:
            problem |= json.loads(rest)
        except ValueError:
            pass
        self._sock.close()
        raise _error(problem)

    def _fill(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            raise ConnectionResetError("the broker closed the connection")
        self._buffer += data

    def _take(self, n: int) -> bytes:
        while len(self._buffer) < n:
            self._fill()
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    def _write(self, op: int, data: bytes) -> None:
        n = len(data)
        head = bytes([0x80 | op]) + (bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n) if n < 65536 else b"\xff" + struct.pack(">Q", n))
        mask = os.urandom(4)
        pad = (mask * (n // 4 + 1))[:n]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(n, "big")
        with self._lock:
            try:
                self._sock.sendall(head + mask + masked)
            except OSError as e:
                raise ZbusError("unknown", f"the connection was lost: {e}") from e

    def _read(self) -> dict:
        """The next frame of the broker."""
        try:
            while True:
                first, second = self._take(2)
                n = second & 127
                if n == 126:
                    n = struct.unpack(">H", self._take(2))[0]
                elif n == 127:
                    n = struct.unpack(">Q", self._take(8))[0]
                data, op = self._take(n), first & 15
                if op == 9:
                    self._write(10, data)
                elif op == 8:
                    raise ConnectionResetError(f"the broker closed the socket: {data[2:].decode()}")
                elif op in (0, 1):
                    self._parts += data
                    if first & 0x80:
                        whole, self._parts = self._parts, b""
                        return json.loads(whole)
        except (OSError, ValueError) as e:
            raise ZbusError("unknown", f"the connection was lost: {e}") from e

    def send(self, **frame: Any) -> None:
        """Sends a frame of asyncapi.yaml; what is None is left out."""
        self._write(1, json.dumps({k: v for k, v in frame.items() if v is not None}).encode())

    def ask(self, **frame: Any) -> dict:
        """Sends a frame, and waits for its answer. What comes before that is kept."""
        self._refs += 1
        ref = str(self._refs)
        self.send(ref=ref, **frame)
        while True:
            got = self._read()
            if got.get("ref") == ref:
                if got["type"] == "problem":
                    raise _error(got)
                return got
            self._frames.append(got)

    def next(self) -> dict:
        """The next frame that is no answer."""
        return self._frames.popleft() if self._frames else self._read()

    def publish(self, topic: str, body: bytes | str = b"", *, id: str | None = None, tag: str | None = None, key: str | None = None, headers: dict | None = None) -> Published:
        return _published(self.ask(op="publish", topic=topic, messages=[_new_message(body, id, tag, key, headers)])["results"][0])

    def call(self, topic: str, method: str, *params: Any, module: str | None = None, timeout: float | None = None) -> Any:
        ms = None if timeout is None else max(1, int(timeout * 1000))
        return self.ask(op="call", topic=topic, method=method, params=list(params), module=module, timeout=ms)["result"]

    def subscribe(self, topic: str, group: str | None = None, *, window: int = 100, **more: Any) -> tuple[str, Iterator[Message]]:
        """Begins to consume: how the group settles, and the messages. Without a group there may be
        filter, and start or after. window is how many messages may be on their way."""
        begun = self.ask(op="subscribe", topic=topic, group=group, window=window, **more)
        self.after = begun.get("after", self.after)
        return begun["settle"], self._messages(begun, window)

    def _messages(self, begun: dict, window: int) -> Iterator[Message]:
        sub = begun["sub"]

        def settle(what: str, **more: Any) -> None:
            self.ask(op=what, sub=sub, **more)

        while True:
            got = self.next()
            if got.get("sub") != sub:
                continue
            if got["type"] == "ended":
                raise _error(got)
            if got["type"] != "message":
                continue
            if int(got["credit"]) == 0:
                self.send(op="credit", sub=sub, credit=window)
            yield _message(got["message"], begun["topic"], begun["group"], settle)

    def serve(self, topic: str, methods: dict[str, Callable], *, group: str | None = None, workers: int = 4, ready: Callable[[], None] | None = None) -> None:
        """Answers calls, as many at a time as there are workers, until the socket ends. methods
        are by their names, or MODULE.METHOD; what they raise is the error of the call."""
        begun = self.ask(op="serve", topic=topic, group=group)
        sub, free = begun["sub"], threading.Semaphore(workers)
        with ThreadPoolExecutor(workers) as pool:
            self.send(op="credit", sub=sub, credit=workers)
            if ready:
                ready()
            while True:
                got = self.next()
                if got.get("sub") != sub:
                    continue
                if got["type"] == "ended":
                    raise _error(got)
                if got["type"] == "request":
                    left = int(got["credit"])
                    free.acquire()
                    pool.submit(self._answer, got, methods, free)
                    if left == 0:
                        self.send(op="credit", sub=sub, credit=workers)

    def _answer(self, request: dict, methods: dict[str, Callable], free: threading.Semaphore) -> None:
        name, module, params = request["method"], request.get("module"), request["params"]
        try:
            f = methods.get(f"{module}.{name}") if module else None
            f = f or methods.get(name)
            if f is None:
                raise CallError(f'no method "{name}"', 404, "no_method")
            outcome = {"result": f(*params) if isinstance(params, list) else f(params)}
            json.dumps(outcome)
        except CallError as e:
            outcome = {"error": {k: v for k, v in {"message": e.message or "the service failed", "status": e.status, "code": e.code, "data": e.data}.items() if v is not None}}
        except Exception as e:  # an error of the method is one of the call
            outcome = {"error": {"message": str(e) or type(e).__name__}}
        free.release()
        if "call" in request:
            try:
                self.send(op="answer", sub=request["sub"], call=request["call"], **({"result": None} | outcome if "error" not in outcome else outcome))
            except ZbusError:
                pass  # the reader notices the end

    def close(self) -> None:
        try:
            self._write(8, struct.pack(">H", 1000))
        except ZbusError:
            pass
        try:
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes who reads
        except OSError:
            pass
        self._sock.close()

    def __enter__(self) -> "Socket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
