"""Prometheus on loopback, from Debian's package: its checker of rules, and the server itself.

    python prometheus_server.py install     the package; the only step that needs root

Only the standard library is used: nox runs this with whatever Python there is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Self

PROGRAMS = ("prometheus", "promtool")


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name) is None]


def install() -> None:
    """Install what is missing, with apt."""
    if not missing_programs():
        return
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    if shutil.which("apt-get") is None or (as_root and shutil.which("sudo") is None):
        raise SystemExit("Debian's package prometheus is needed: install it, or run this as root on Debian")
    for step in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", "prometheus"]):
        subprocess.run([*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *step], check=True)
    if missing := missing_programs():
        raise SystemExit(f"the package is installed, and {', '.join(missing)} are still missing")


def promtool(*words: str | Path, text: bytes | None = None) -> str:
    """What it says of something that is right; what is wrong fails the test with its words."""
    ended = subprocess.run(["promtool", *map(str, words)], input=text, capture_output=True, check=False, timeout=60)
    said = (ended.stdout + ended.stderr).decode()
    assert ended.returncode == 0, said
    return said


class Server:
    """A Prometheus that scrapes one target every second."""

    def __init__(self, folder: Path, port: int, target: str) -> None:
        folder.mkdir()
        self.url = f"http://127.0.0.1:{port}"
        config = folder / "prometheus.json"  # which is YAML, too
        scrape = {"job_name": "quantlab", "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
        config.write_text(json.dumps({"scrape_configs": [scrape]}))
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def query(self, expression: str, **more: str) -> list[dict]:
        """The result of an expression; with ``start``, ``end`` and ``step`` for each of a row of instants."""
        path = "/api/v1/query_range" if more else "/api/v1/query"
        address = f"{self.url}{path}?{urllib.parse.urlencode({'query': expression, **more})}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as refusal:
            with refusal:
                if refusal.code == HTTPStatus.SERVICE_UNAVAILABLE:
                    raise  # it listens, and is still starting
                raise AssertionError(f"{expression}: {refusal.read().decode()}") from None

    def value(self, expression: str) -> float | None:
        """The one number that an expression is, if there is one yet."""
        try:
            result = self.query(expression)
        except urllib.error.URLError:
            return None  # it is still starting
        return float(result[0]["value"][1]) if result else None


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        raise SystemExit(__doc__)
    install()
