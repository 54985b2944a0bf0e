"""Secrets go in by the address, the environment and a file, and come out nowhere, whatever goes wrong meanwhile."""

from __future__ import annotations

import base64
import signal
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
import trio

from quantlab_collector.contracts.layout import RAW_FRAMES
from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import collector, config_for
from storage.fault_store import KEY_ID, FaultStore, answer, hang_up, puts

WORDS = {
    "the user of an address": "canary-1f0d-user",
    "the password of an address": "canary-9b7e-word",
    "the store's secret key": "canary-77aa-secret",
    "the store's session token": "canary-40c3-session",
    "a secret of something else": "canary-e85b-other",
}
PAGES = (
    "/",
    "/health",
    "/ready",
    "/streams",
    "/metrics",
    "/status",
    "/collectors/status",
    "/collectors/status/binance",
    "/nowhere",
)
FORMS = ("application/json", "text/plain", "application/openmetrics-text", "text/html")
RAW_ARCHIVE = "[raw_archive]\nenabled = true\n"


def shapes(word):
    """A word as it is, and as it stands in headers and addresses."""
    yield word.encode()
    yield quote(word, safe="").replace("-", "%2D").encode()
    for start in range(3):  # what stands in front of it shifts the letters of base64
        yield base64.b64encode(b"x" * start + word.encode())[4:-4]


def leaks(found: dict[str, bytes]) -> list[str]:
    """Where which secret was found."""
    return [f"{what} in {place}" for place, data in found.items() for what, word in WORDS.items() if leaked(word, data)]


def leaked(word, data):
    return any(shape in data for shape in shapes(word))


def files_below(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):  # in a spool that is in use files come and go
            found[str(path.relative_to(folder))] = path.read_bytes()
    for path in folder.rglob("*.parquet"):
        found[f"metadata of {path.name}"] = repr((pq.read_metadata(path).metadata, pq.read_schema(path))).encode()
    return found


async def until(condition):
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.05)


async def ask_everything(service) -> dict[str, bytes]:
    def ask(page, form):
        request = urllib.request.Request(service.url + page, headers={"Accept": form})
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return repr(reply.headers.items()).encode() + reply.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return repr(refusal.headers.items()).encode() + refusal.read()

    return {f"{page} as {form}": await trio.to_thread.run_sync(ask, page, form) for page in PAGES for form in FORMS}


@pytest.mark.parametrize(
    "source", ["environment", pytest.param("file", marks=pytest.mark.long), pytest.param("older names", marks=pytest.mark.long)]
)
async def test_no_secret_is_to_be_found_anywhere(source, tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=("BTCUSDT",), rate=300))
    user, password, secret, token, other = WORDS.values()
    keys = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}
    environ = {"MY_API_TOKEN": other}
    run = tmp_path / "run"
    with FaultStore() as store:
        more = store.config("v1") + RAW_ARCHIVE
        if source == "environment":
            environ |= keys
        elif source == "file":
            (tmp_path / "keys").write_text("".join(f"{name}={value}\n" for name, value in keys.items()))
            more = more.replace("[storage.options]", f'[storage.options]\ncredentials_file = "{tmp_path / "keys"}"')
        else:
            environ |= {"STORAGE_BACKEND": "s3", "S3_ACCESS_KEY": KEY_ID, "S3_SECRET_KEY": secret}
        config = config_for(simulator, symbols=["BTCUSDT"], flush="500ms", more=more)
        config = config.replace('ws_url = "ws://', f'ws_url = "ws://{user}:{password}@')
        # After a refusal the writer waits for half a minute, and the archive of raw frames for a second.
        faults = [
            store.inject(answer(403, code), on=lambda request: RAW_FRAMES in request.key)
            for code in ("AccessDenied", "SignatureDoesNotMatch")
        ]
        faults += [store.inject(fault, times=2, on=puts("v1/exchange=")) for fault in (answer(500), hang_up())]
        async with collector(run, config, environ=environ) as service:
            await service.wait_received(100)
            found = await ask_everything(service)
            simulator.faults.say("{broken")
            await until(lambda: service.told("frame_rejected"))
            simulator.faults.refuse(401, count=1)
            simulator.faults.close(1001, "going away")
            await until(lambda: len(service.told("ws_disconnect")) > 2)
            await until(lambda: all(rule.served == rule.times for rule in faults))
            await until(lambda: len(service.told("segment_committed")) > 2)
            found |= {f"{place}, after the faults": data for place, data in (await ask_everything(service)).items()}
            await until(lambda: list((run / "spool").rglob("*.journal")))
            while_running = files_below(run / "spool")
            assert await service.stop(signal.SIGTERM) == 0
        (run / "collector.toml").unlink()
        found |= {f"spool/{name}, while it ran": data for name, data in while_running.items()} | files_below(run)
        copy = tmp_path / "store"
        for key, data in store.objects.items():
            (copy / key).parent.mkdir(parents=True, exist_ok=True)
            (copy / key).write_bytes(data)
        found |= files_below(copy)
    nursery.cancel_scope.cancel()

    assert leaks(found) == []
    # A search in the wrong place finds nothing, either.
    names = " ".join(found)
    assert len(found) > 2 * len(PAGES) * len(FORMS)
    for expected in ("000.log", "000.err", "_manifests", "metadata of part-", ".jsonl.gz", "spool/", ".journal"):
        assert expected in names
    assert any(b"upload_failed" in data and b"SignatureDoesNotMatch" in data for data in found.values())


@pytest.mark.parametrize("what", WORDS)
@pytest.mark.parametrize("form", ["plain", "percent", "basic", "in Parquet"])
def test_a_leak_that_is_planted_is_found(what, form, tmp_path):
    word = WORDS[what]
    if form == "in Parquet":
        import pyarrow as pa

        pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"note": f"by {word}"}), tmp_path / "part-a.parquet")
    else:
        text = {
            "plain": f"said {word}!",
            "percent": quote(word).replace("-", "%2D"),
            "basic": base64.b64encode(f"someone:{word}:x".encode()).decode(),
        }
        (tmp_path / "log").write_text(text[form])

    assert leaks(files_below(tmp_path))
    assert {leak.split(" in ")[0] for leak in leaks(files_below(tmp_path))} == {what}
