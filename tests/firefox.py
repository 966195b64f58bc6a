"""Open pages in headless Firefox, by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/)."""

import asyncio
import contextlib
import itertools
import json
import re
import shutil
import subprocess
import tempfile

import pytest
from tornado.websocket import websocket_connect

FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), "")
PATIENCE = 60  # seconds

needs_firefox = pytest.mark.skipif(not FIREFOX, reason="Firefox is not installed")


class Firefox:
    """One tab, and what its page said was wrong."""

    def __init__(self, loop, socket):
        self.loop, self.socket, self.numbers = loop, socket, itertools.count(1)
        self.wrong = []
        self._do("session.new", capabilities={})
        self._do("session.subscribe", events=["log.entryAdded"])
        self.context = self._do("browsingContext.create", type="tab")["context"]

    def open(self, path):
        """Open a file."""
        self._do(
            "browsingContext.navigate", context=self.context, url=path.as_uri(), wait="complete"
        )

    def resize(self, width, height):
        """Set the size of the page."""
        size = {"width": width, "height": height}
        self._do("browsingContext.setViewport", context=self.context, viewport=size)

    def evaluate(self, expression):
        """Give the value of an expression, through JSON."""
        found = self._do(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self.context},
            awaitPromise=True,
        )
        assert found["type"] == "success", found["exceptionDetails"]["text"]
        return json.loads(found["result"].get("value", "null"))  # JSON has no undefined

    def wait(self, expression):
        """Wait until an expression is true."""
        self.evaluate(
            f"new Promise(resolve => {{ const timer = setInterval(() => "
            f"{{ if ({expression}) {{ clearInterval(timer); resolve(true); }} }}, 50); }})"
        )

    def _do(self, method, **params):
        return self.loop.run_until_complete(
            asyncio.wait_for(self._ask(next(self.numbers), method, params), PATIENCE)
        )

    async def _ask(self, number, method, params):
        await self.socket.write_message(
            json.dumps({"id": number, "method": method, "params": params})
        )
        while True:
            told = json.loads(await self.socket.read_message())
            if told.get("method") == "log.entryAdded":
                self.wrong.append(told["params"]["text"])
            if told.get("id") == number:
                assert told["type"] == "success", told
                return told["result"]


async def _connect(address):
    return await websocket_connect(address, max_message_size=1 << 28)


@contextlib.contextmanager
def firefox():
    """Start Firefox with an empty profile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [FIREFOX, "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile"]
        process = subprocess.Popen([*words, profile], stderr=subprocess.PIPE, text=True)
        loop = asyncio.new_event_loop()
        try:
            lines = iter(process.stderr.readline, "")
            found = (re.search(r"BiDi listening on (ws://\S+)", line) for line in lines)
            address = next(filter(None, found))[1]
            socket = loop.run_until_complete(_connect(f"{address}/session"))
            yield Firefox(loop, socket)
            socket.close()
        finally:
            process.terminate()
            process.wait()
            process.stderr.close()
            loop.close()
