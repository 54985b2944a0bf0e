"""A headless Chromium, driven by its DevTools protocol. Nothing is needed but Debian's package and a WebSocket."""

from __future__ import annotations

import base64
import itertools
import json
import math
import shutil
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio
from trio_websocket import open_websocket_url

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
START_LIMIT = 30
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # a container has no namespaces to give away
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
)

HURRY = """
    window.waits = [];
    const real = window.setTimeout;
    window.setTimeout = (work, wait) => { waits.push(wait); return real(work, wait / 20); };
"""


class Failed(Exception):
    """The browser says no, or a script in the page raised."""


class Page:
    """A tab."""

    def __init__(self, send, session: str, target: str) -> None:
        self._send = send
        self._session = session
        self.target = target
        self.complaints: list[str] = []
        """What a developer would see in red: exceptions, errors, what the policy forbade."""
        self.requests: list[str] = []

    async def call(self, method: str, **params: Any) -> Any:
        return await self._send(method, params, self._session)

    async def run(self, script: str) -> Any:
        """The value of an expression."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Failed(answer["exceptionDetails"])
        return answer["result"].get("value")

    async def until(self, script: str, limit: float = 10) -> Any:
        """The value as soon as it is true."""
        with trio.move_on_after(limit):
            while True:
                if value := await self.run(script):
                    return value
                await trio.sleep(0.05)
        raise Failed(f"{script} did not become true; the page says: {await self.run('document.body.innerText')}")

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def hurry(self) -> None:
        """From the next page on: note how long it wants to wait (``waits``), and let it wait a twentieth of that."""
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=HURRY)

    async def look_like(
        self, *, width: int = 1280, height: int = 900, scheme: str = "light", motion: str = "no-preference"
    ) -> None:
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        await self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion}],
        )

    async def picture(self) -> bytes:
        """The whole page as PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True))["data"])

    def hear(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(json.dumps(params["entry"]))
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])


class Browser:
    """A connection to it."""

    def __init__(self, socket) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, trio.MemorySendChannel] = {}
        self._pages: dict[str, Page] = {}

    async def listen(self) -> None:
        while True:
            message = json.loads(await self._socket.get_message())
            if "id" in message:
                self._answers.pop(message["id"]).send_nowait(message)
            elif page := self._pages.get(message.get("sessionId")):
                page.hear(message["method"], message["params"])

    async def send(self, method: str, params: dict[str, Any], session: str | None = None) -> Any:
        number = next(self._numbers)
        put, answers = trio.open_memory_channel(math.inf)
        self._answers[number] = put
        await self._socket.send_message(
            json.dumps({"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {}))
        )
        with trio.fail_after(30):
            answer = await answers.receive()
        if "error" in answer:
            raise Failed(method, answer["error"])
        return answer["result"]

    async def new_page(self) -> Page:
        target = (await self.send("Target.createTarget", {"url": "about:blank"}))["targetId"]
        session = (await self.send("Target.attachToTarget", {"targetId": target, "flatten": True}))["sessionId"]
        page = self._pages[session] = Page(self.send, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        return page


@contextmanager
def chromium(folder: Path):
    """A browser with a profile of its own in a folder; gives the address for its DevTools."""
    profile = folder / "profile"
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=log, stderr=log)
    try:
        yield _address(process, profile)
    finally:
        process.kill()
        process.wait()


def _address(process, profile: Path) -> str:
    port_file, deadline = profile / "DevToolsActivePort", time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        assert process.poll() is None, "Chromium has ended"
        lines = port_file.read_text().split("\n") if port_file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise AssertionError("Chromium does not come up")


@asynccontextmanager
async def connected(address: str):
    """Speak with a browser that runs."""
    async with open_websocket_url(address, max_message_size=2**26) as socket:
        async with trio.open_nursery() as nursery:
            browser = Browser(socket)
            nursery.start_soon(browser.listen)
            yield browser
            nursery.cancel_scope.cancel()
