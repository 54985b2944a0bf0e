"""An S3 server on loopback that does what it is told, also what no real server does on demand.

It keeps objects in memory, speaks as much of S3 as a recording needs (path-style PUT, GET, HEAD, DELETE, ListObjectsV2,
``If-None-Match: *``), and writes down every attempt. It runs in threads of its own, so it serves plain tests, tests under Trio and
whole processes alike:

    with FaultStore() as store:
        store.inject(answer(503, "SlowDown"), times=2, on=puts("exchange="))
        objects = store.open()                 # or store.config() for a collector.toml
        objects.put("exchange=binance/x", b"…")
        assert store.objects["exchange=binance/x"] == b"…"
        assert store.served == 2               # faults that really took place

A fault is what happens to one request: ``answer``, ``reset_before_body``, ``reset_mid_body``, ``hang_up``, ``silence``, ``slowly``.
Those that can be ``applied`` store the object and then fail all the same. ``inject`` says how often (``times=None`` is for ever) and
on which requests; the first rule that matches a request and is not used up takes it. ``heal`` ends all faults.

It checks the access key, not the signature: that is what the real server is for.
"""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import attrs

from quantlab_collector.storage.objects import StoreOptions, open_objects

BUCKET = "fault-bucket"
KEY_ID = "canary-key-id"
SECRET = "canary-secret"
CHUNK = 65_536

# ------------------------------------------------------------------------------------------------------------ faults


@attrs.frozen
class Request:
    """What a client asked for."""

    method: str
    key: str
    """Of the object, without the bucket; the prefix, for a list."""
    headers: dict[str, str]
    """Their names in small letters."""
    path: str = ""
    """As it came, still encoded."""
    listing: bool = False

    @property
    def creates(self):
        return self.headers.get("if-none-match") == "*"


@attrs.frozen
class Fault:
    """What happens to a request. ``before`` is in the place of its body, ``after`` in the place of the answer."""

    name: str
    before: Callable[[Handler], bool] | None = None
    """Whether the connection is still there."""
    after: Callable[[Handler], None] | None = None
    applied: bool = False


def answer(status, code=None, message="As told.", *, headers=None, body=None, applied=False):
    """Answer with a status, and S3's XML when there is a code."""
    text = body if body is not None else f"<Error><Code>{code}</Code><Message>{message}</Message></Error>" if code else ""
    return Fault(
        f"{status} {code or ''}".strip(), after=lambda handler: handler.reply(status, text.encode(), headers), applied=applied
    )


def reset_before_body():
    """Reset the connection before anything of the body was read."""
    return Fault("reset before body", before=lambda handler: handler.reset())


def reset_mid_body():
    """Read half of the body, then reset."""

    def half(handler):
        handler.rfile.read(handler.length // 2)
        return handler.reset()

    return Fault("reset mid body", before=half)


def hang_up(*, applied=False):
    """Read everything, and close without a word."""
    return Fault("hang up", after=lambda handler: handler.hang_up(), applied=applied)


def silence(*, applied=False):
    """Read everything, and never answer. The connection stays open until ``heal`` or the end."""
    return Fault("silence", after=lambda handler: handler.be_silent(), applied=applied)


def slowly(bytes_per_second):
    """Read the body at this pace; then all is well."""

    def dawdle(handler):
        handler.pace = bytes_per_second
        return True

    return Fault("slowly", before=dawdle, applied=True)


def puts(start=""):
    """Requests that store an object whose key begins so."""
    return lambda request: request.method == "PUT" and request.key.startswith(start)


def creates(start=""):
    """Requests that store an object only where there is none."""
    return lambda request: request.creates and request.key.startswith(start)


def gets(start=""):
    """Requests that read an object."""
    return lambda request: request.method == "GET" and not request.listing and request.key.startswith(start)


def deletes(start=""):
    """Requests that delete an object."""
    return lambda request: request.method == "DELETE" and request.key.startswith(start)


def anything(request):
    return True


@attrs.define(eq=False)
class Rule:
    """A fault that was injected, and how often it took place."""

    fault: Fault
    on: Callable[[Request], bool]
    times: int | None
    served: int = 0


@attrs.frozen
class Attempt:
    """A request that was seen, and the fault that met it, by its name."""

    request: Request
    at: float
    """On the monotonic clock."""
    fault: str | None

    @property
    def key(self):
        return self.request.key


# ------------------------------------------------------------------------------------------------------------ server


class FaultStore:
    """The server. ``objects``, ``attempts`` and ``served`` may be looked at any time."""

    def __init__(self, *, ssl_context=None, page_size=1000):
        self.objects: dict[str, bytes] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.attempts: list[Attempt] = []
        self.rules: list[Rule] = []
        self.access_keys = {KEY_ID}
        self.page_size = page_size
        self.modified = time.time()
        self.lock = threading.Lock()
        self.released = threading.Event()
        """Whether the silent may close."""
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.store = self
        if ssl_context is not None:
            self._server.socket = ssl_context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "http" if ssl_context is None else "https"
        self.endpoint = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"s3://{BUCKET}"
        self.environ = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
        """What a process needs to be let in."""
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.heal()
        self._server.shutdown()
        self._thread.join()
        self._server.close_all()

    # ------------------------------------------------------------------------------------------------------- clients

    def options(self, **more):
        """The options that lead here."""
        return StoreOptions(**{"endpoint": self.endpoint, "region": "test-1", **more})

    def open(self, prefix="", *, lanes=8, **options):
        """A store as the collector opens it. The keys have to be in the environment: the fixture ``fault_store`` sees to that."""
        return open_objects(f"{self.url}/{prefix}", self.options(**options), lanes=lanes)

    def config(self, prefix=""):
        """The tables for a ``collector.toml``."""
        options = f'[storage.options]\nendpoint = "{self.endpoint}"\nregion = "test-1"\n'
        return f'[storage]\nurl = "{self.url}/{prefix}"\nretry_first = "20ms"\nretry_cap = "200ms"\n{options}'

    # -------------------------------------------------------------------------------------------------------- faults

    def inject(self, fault, *, times=1, on=anything):
        """Let a fault happen to the requests that match; the rule tells later how often it did."""
        rule = Rule(fault, on, times)
        with self.lock:
            self.released.clear()
            self.rules.append(rule)
        return rule

    def heal(self):
        """From now on everything is well. Connections that were kept in silence are closed."""
        with self.lock:
            self.rules.clear()
            self.released.set()

    @property
    def served(self):
        """How many faults took place."""
        with self.lock:
            return sum(attempt.fault is not None for attempt in self.attempts)

    def attempts_of(self, start=""):
        """The attempts to store what begins so, in their order."""
        with self.lock:
            return [attempt for attempt in self.attempts if attempt.request.method == "PUT" and attempt.key.startswith(start)]

    def meet(self, request):
        """Write an attempt down; the fault that it meets."""
        with self.lock:
            rule = next((rule for rule in self.rules if rule.served != rule.times and rule.on(request)), None)
            if rule is not None:
                rule.served += 1
            self.attempts.append(Attempt(request, time.monotonic(), rule and rule.fault.name))
            return rule and rule.fault

    # ------------------------------------------------------------------------------------------------------- objects

    def store(self, request, body):
        """Store an object: whether it was, and not because there is one."""
        with self.lock:
            if request.creates and request.key in self.objects:
                return False
            self.objects[request.key] = body
            self.metadata[request.key] = {
                name[11:]: text for name, text in request.headers.items() if name.startswith("x-amz-meta-")
            }
            return True

    def delete(self, key):
        with self.lock:
            self.objects.pop(key, None)

    def page(self, prefix, after):
        """Keys and sizes after one, and whether there are more."""
        with self.lock:
            keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
            return [(key, len(self.objects[key])) for key in keys[: self.page_size]], len(keys) > self.page_size


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    store: FaultStore

    def __init__(self, *args):
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request, client_address):
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """Clients leave whenever they like."""

    def close_all(self):
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.server_close()

    daemon_threads = False  # so that server_close waits for them


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: _Server
    pace = None

    def log_message(self, format, *args):  # noqa: A002 (the name that the base class has)
        pass

    def setup(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()

    def serve(self):
        store, address = self.server.store, urlsplit(self.path)
        bucket, _, key = unquote(address.path).removeprefix("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        listing = "list-type" in query
        headers = {name.lower(): text for name, text in self.headers.items()}
        request = Request(self.command, query.get("prefix", "") if listing else key, headers, address.path, listing)
        self.length, self.pace = int(headers.get("content-length", 0)), None
        fault = store.meet(request)
        if fault and fault.before and not fault.before(self):
            return
        body = self.read_body()
        if fault is None or fault.applied:
            status, data, more = self.do(store, bucket, request, query, body)
        if fault and fault.after:
            fault.after(self)
        else:
            self.reply(status, data, more)

    do_PUT = do_GET = do_HEAD = do_DELETE = do_POST = serve

    def do(self, store, bucket, request, query, body):
        """Do what a request asks for; status, body and headers of the answer."""
        signer = re.search(r"Credential=([^/]+)/", request.headers.get("authorization", ""))
        if signer is None or signer[1] not in store.access_keys:
            return refusal(403, "InvalidAccessKeyId")
        if bucket != BUCKET:
            return refusal(404, "NoSuchBucket")
        if request.listing:
            return 200, listing_xml(query, *store.page(request.key, query.get("continuation-token", ""))), {}
        return {"PUT": self.do_put, "DELETE": self.do_delete}.get(request.method, self.do_read)(store, request, body)

    def do_put(self, store, request, body):
        return (200, b"", {"ETag": etag(body)}) if store.store(request, body) else refusal(412, "PreconditionFailed")

    def do_delete(self, store, request, _):
        store.delete(request.key)
        return 204, b"", {}

    def do_read(self, store, request, _):
        data = store.objects.get(request.key)
        if data is None:
            return refusal(404, "NoSuchKey")
        return 200, data, {"ETag": etag(data), "Last-Modified": formatdate(store.modified, usegmt=True)}

    def read_body(self):
        if self.pace is None:
            return self.rfile.read(self.length)
        body = b""
        while len(body) < self.length:
            piece = self.rfile.read(min(CHUNK, max(1, self.pace // 20), self.length - len(body)))
            body += piece
            time.sleep(len(piece) / self.pace)
        return body

    # --------------------------------------------------------------------------------------------------------- endings

    def reply(self, status, body, headers=None):
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reset(self):
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A shutdown first, as the server does it, would send a FIN before the reset.
        self.connection.close()
        return False

    def hang_up(self):
        self.close_connection = True

    def be_silent(self):
        self.server.store.released.wait()
        self.hang_up()


def refusal(status, code):
    return status, f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode(), {}


def etag(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


def listing_xml(query, found, more):
    items = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        f'<ETag>"x"</ETag></Contents>'
        for key, size in found
    )
    token = f"<NextContinuationToken>{escape(found[-1][0])}</NextContinuationToken>" if more else ""
    return (
        f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(query.get('prefix', ''))}</Prefix>"
        f"<KeyCount>{len(found)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}</ListBucketResult>"
    ).encode()
