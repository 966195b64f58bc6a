"""Object stores for tests: S3 servers, and a server that does wrong what it is told to."""

import contextlib
import json
import logging
import os
import random
import socket
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import boto3
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
def bucket_of_server(name="scans"):
    """Start an S3 server with an empty bucket; yield the bucket's address.

    It is moto's, in this process, or SeaweedFS's, which checks signatures, if SCANGAN_WEED names the program.
    """
    weed = os.environ.get("SCANGAN_WEED")
    with _bucket(_seaweed(weed) if weed else _moto(), name) as address:
        yield address


def bucket_of_moto():
    """Start moto's server in this process, with an empty bucket; yield the bucket's address."""
    return _bucket(_moto(), "scans")


@contextlib.contextmanager
def _bucket(server, name):
    with server as port, pytest.MonkeyPatch.context() as patch:
        point_to(patch, port)
        boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).create_bucket(Bucket=name)
        yield to_address(f"s3://{name}")
    store._of_bucket.cache_clear()


@contextlib.contextmanager
def _moto():
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@contextlib.contextmanager
def _seaweed(program):
    credentials = [{"accessKey": SECRET, "secretKey": SECRET}]
    told = {"identities": [{"name": "me", "credentials": credentials, "actions": ["Admin"]}]}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "s3.json").write_text(json.dumps(told))
        master, volume, filer, s3 = (_free_port() for _ in range(4))
        words = [program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-s3", f"-s3.config={folder}/s3.json",
                 f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}",
                 "-master.volumeSizeLimitMB=64", "-volume.max=50"]  # fmt: skip
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(words, **quiet) as server:
            _wait_for(f"http://127.0.0.1:{s3}")
            yield s3
            server.kill()


def _free_port():
    """Return a port that is free, as is that 10,000 above, which SeaweedFS takes too."""
    while True:
        port = random.randrange(10_000, 20_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 10_000))
            return port


def _wait_for(url):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            urlopen(url).close()
        except HTTPError:  # refused, as nobody signed
            return
        except URLError:
            time.sleep(0.2)


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
