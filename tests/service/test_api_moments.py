"""A8 and A9: what the window says while the service starts, recovers and stops, and when its place is taken."""

from __future__ import annotations

import signal
import socket

import pytest
import trio

from quantlab_collector.contracts.layout import RAW_FRAMES
from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import collector, config_for, run_cli, start
from storage.fault_store import FaultStore, answer, silence


async def test_a8_during_recovery_and_during_a_stop(tmp_path, nursery):
    run = tmp_path / "run"
    with FaultStore() as store:
        async with trio.open_nursery() as playing:
            simulator = await playing.start(serve_binance, BinanceOptions(symbols=("BTCUSDT",), rate=200))
            config = config_for(simulator, symbols=["BTCUSDT"], flush="500ms", more=store.config("v1"))
            store.inject(silence(), times=None)
            async with collector(run, config, environ=store.environ) as service:
                await service.wait_received(200)
                service.process.kill()
            playing.cancel_scope.cancel()
        # Started again: an exchange that is not there, a store that does not answer, and a spool full of things to do.
        async with collector(run, config, environ=store.environ) as service:
            assert (await service.get("/health"))[0] == 200
            status, told = await service.get("/ready")
            assert (status, told["ready"], told["reason"]) == (503, False, "no WebSocket is connected")
            with trio.fail_after(20):
                while not (await service.get("/metrics"))[1]["writer"]["backlog_segments"]:
                    await trio.sleep(0.05)
            service.process.send_signal(signal.SIGTERM)
            with trio.fail_after(20):
                while (await service.get("/ready"))[1]["reason"] != "stopping":
                    await trio.sleep(0.02)
            status, told = await service.get("/health")
            assert (status, told["status"]) == (200, "ok")
            assert (await service.get("/ready"))[0] == 503
            store.heal()
            with trio.fail_after(40):
                assert await service.process.wait() == 0
            assert service.errors == ""


def test_a9_a_port_that_is_taken_ends_the_start_with_a_word(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run_cli("run", "--symbols", "BTCUSDT", cwd=tmp_path, environ={"QUANTLAB_STATUS__PORT": port})
    assert ended.returncode == 1
    assert f"the status page cannot have 127.0.0.1:{port}: Address already in use" in ended.stdout + ended.stderr
    assert not (tmp_path / "data").exists()


ESCAPES = "\x1b[2J\x1b[31mred\x07\r\nnew line\x9b1m"


async def until(condition):
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.05)


@pytest.mark.parametrize("form", ["json", "console"])
async def test_what_peers_say_is_not_obeyed_by_a_terminal(form, tmp_path, nursery):
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=("BTCUSDT",), rate=200))
    with FaultStore() as store, socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
        place.close()
        store.inject(answer(403, "Access\x1b[31mDenied", ESCAPES), times=1, on=lambda request: RAW_FRAMES in request.key)
        config = config_for(
            simulator, symbols=["BTCUSDT"], flush="500ms", more=store.config("v1") + "[raw_archive]\nenabled = true\n"
        )
        config = config.replace('format = "json"', f'format = "{form}"').replace("port = 0", f"port = {port}")
        service = await start(tmp_path / "run", config, environ=store.environ)
        service.url, log = f"http://127.0.0.1:{port}", service.log_path
        try:

            def told(word):
                return word in log.read_text()

            await until(lambda: told("ws_connect"))
            await service.wait_received(50)
            simulator.faults.say('{"error":{"code":2,"msg":"\\u001b[31mInvalid\\nrequest\\u009b1m"},"id":7}')
            simulator.faults.say('{"stream":"x","data":{"e":"\\u001b[2Jweather\\u0007","t":1}}')
            simulator.faults.say(f'{{"e":"bookTicker","s":"{ESCAPES}"}}')
            await until(lambda: told("unknown_message") and told("frame_rejected") and told("raw_upload_failed"))
            simulator.faults.close(1001, "going\x1b[31m\naway")
            await until(lambda: told("ws_disconnect"))
            pages = [(await service.get(page))[1] for page in ("/metrics", "/status", "/streams", "/collectors/status")]
            assert await service.stop() == 0
        finally:
            if service.process.poll() is None:
                service.process.kill()
            with trio.CancelScope(shield=True):
                await service.process.wait()
    nursery.cancel_scope.cancel()
    lines = log.read_text()
    assert "weather" in lines
    assert [c for c in lines if not c.isprintable() and c != "\n"] == []
    if form == "json":
        assert len(lines.splitlines()) == len(service.log)
    else:
        assert all(line[:4].isdigit() or line.startswith("[") for line in lines.splitlines())
    assert unprintable(pages) == []


def unprintable(answer):
    match answer:
        case dict():
            return [text for pair in answer.items() for item in pair for text in unprintable(item)]
        case list():
            return [text for item in answer for text in unprintable(item)]
        case str():
            return [] if answer.isprintable() else [answer]
        case _:
            return []
