"""Object stores for tests: moto's S3 server, and a server that does wrong what it is told to."""

import contextlib
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from scangan.core import store
from scangan.core.address import to_address

SECRET = "AKIDVERYSECRET"


def point_to(patch, port):
    """Let this process and its children use the server at a port as S3."""
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", SECRET)
    patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    patch.setenv("AWS_REGION", "us-east-1")
    store._of_bucket.cache_clear()


@contextlib.contextmanager
def bucket_of_moto(name="scans"):
    """Start moto's server with an empty bucket; yield the bucket's address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        point_to(patch, port)
        urlopen(Request(f"http://127.0.0.1:{port}/{name}", method="PUT")).close()
        yield to_address(f"s3://{name}")
    store._of_bucket.cache_clear()
    server.stop()


@contextlib.contextmanager
def wrong_server(answer):
    """Start a server that calls `answer(request)` for each request; yield the address of a bucket."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            length = int(self.headers.get("Content-Length", 0))
            self.body = self.rfile.read(length)
            answer(self)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer

        def reply(self, status, body=b"", **headers):
            self.send_response(status)
            for name, value in ({"Content_Length": str(len(body))} | headers).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def refuse(self, status, code):
            said = f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>"
            self.reply(status, said.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        point_to(patch, server.server_port)
        yield to_address("s3://bucket")
    store._of_bucket.cache_clear()
    server.shutdown()
    server.server_close()


def copy_to(folder, address):
    """Put the files of a folder into a store, with their paths."""
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            store.put(address / path.relative_to(folder).as_posix(), path.read_bytes())


def content_of(address):
    """Read all objects below an address, by name."""
    return {entry.name: store.read(address / entry.name) for entry in store.below(address)}


def bytes_of(folder):
    """Read all files below a folder, by name."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
