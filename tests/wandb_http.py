"""The stand-in for the W&B server on a port of this machine: requests, keys, and faults."""

import base64
import gzip
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from tests.wandb_server import KEY, Server

__all__ = ["serving"]


class _Answer(BaseHTTPRequestHandler):
    server: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self._body()
        state: Server = self.server.state
        if self.path == "/graphql":
            asked = json.loads(body)
            match = re.search(r"\b(?:query|mutation)\s+(\w+)", asked["query"])
            assert match, asked["query"]
            if self._faulty(match[1]) or not self._known():
                return
            try:
                with state.lock:
                    data = state.answer(match[1], asked.get("variables") or {})
            except (KeyError, ValueError) as error:
                self._send(200, {"data": None, "errors": [{"message": repr(error)}]})
                return
            self._send(200, {"data": data})
        elif (
            match := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path)
        ) is not None:
            if self._faulty("stream") or not self._known():
                return
            with state.lock:
                state.stream(unquote(match[1]), json.loads(body))
            self._send(200, {"exitcode": None, "limits": {}})
        else:
            self._send(404, {"error": self.path})

    def do_PUT(self) -> None:
        body = self._body()
        state: Server = self.server.state
        _, _, kind, *words = self.path.split("/")
        if self._faulty(f"upload {kind} {unquote(words[-1 if kind == 'run' else 0])}"):
            return
        with state.lock:
            state.put(kind, [unquote(word) for word in words], body)
        self._send(200, {})

    def do_GET(self) -> None:
        self._faulty(f"get {self.path}")
        self._send(404, {"error": self.path})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _known(self) -> bool:
        scheme, _, word = self.headers.get("Authorization", "").partition(" ")
        key = base64.b64decode(word).decode().partition(":")[2] if scheme == "Basic" else word
        self.server.state.keys.add(key)
        if key != KEY:
            self._send(401, {"errors": [{"message": "user is not logged in"}], "error": "no"})
        return key == KEY

    def _faulty(self, what: str) -> bool:
        """Whether a fault was answered instead."""
        state: Server = self.server.state
        with state.lock:
            state.asked.append(what)
            fault = None if state.fault is None else state.fault(what, state)
        if fault is None:
            return False
        if fault == "hang":
            state.stopping.wait(120)
        if isinstance(fault, int):
            self._send(fault, {"error": "on request"})
        else:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        return True

    def _send(self, status: int, data: Any) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    state: Server

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is no error here."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of this machine."""
    state = Server()
    server = _Quiet(("127.0.0.1", 0), _Answer)
    server.state = state
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state
    finally:
        state.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
