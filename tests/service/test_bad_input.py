"""A peer that sends nonsense is counted, told once, and kept."""

from __future__ import annotations

import json

import trio
from trio_websocket import ConnectionClosed, serve_websocket

from service.harness import collector, config_for, manifests, recorded

GOOD = '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"1.5","B":"2","a":"2.5","A":"3","T":1791091007473,"E":1}}'
BAD = [
    ("not_json", "{broken"),
    ("not_json", GOOD[:-3]),
    ("not_json", GOOD + "x"),
    ("not_an_object", "[1,2]"),  # two items, each its own rejection
    ("no_event_type", "{}"),
    ("missing_field", GOOD.replace('"b":"1.5",', "")),
    ("wrong_type", GOOD.replace('"1.5"', '"one"')),
    ("not_finite", GOOD.replace('"1.5"', '"NaN"')),
    ("out_of_range", GOOD.replace("1791091007473", "999999999999999999")),
    ("not_subscribed", GOOD.replace("BTCUSDT", "../../x")),
    ("binary_frame", GOOD.encode()),
]
UNKNOWN = ['{"stream":"x","data":{"e":"weather","t":1}}'] * 3 + ['{"e":"depthUpdate"}']
ROUNDS = 5


class Nonsense:
    """An exchange that mixes good and bad."""

    def __init__(self):
        self.rest_url = "http://127.0.0.1:9"
        self.connections = 0
        self.done = trio.Event()

    async def serve(self, task_status):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, self.talk, "127.0.0.1", 0, None)
            self.ws_url = f"ws://127.0.0.1:{server.port}"
            task_status.started()

    async def talk(self, request):
        ws = await request.accept()
        self.connections += 1
        try:
            await ws.send_message(json.dumps({"result": None, "id": json.loads(await ws.get_message())["id"]}))
            if request.path.startswith("/market"):
                await trio.sleep_forever()
            for _ in range(ROUNDS):
                for _, message in BAD:
                    await ws.send_message(message)
                    await ws.send_message(GOOD)
                for message in UNKNOWN:
                    await ws.send_message(message)
            await ws.send_message('{"error":{"code":2,"msg":"Invalid request: \\u001b[31mred"},"id":7}')
            await ws.send_message(GOOD)
            self.done.set()
            while True:
                await ws.get_message()
        except ConnectionClosed:
            pass


async def test_nonsense_is_counted_and_the_connection_lives_on(tmp_path, nursery):
    peer = Nonsense()
    await nursery.start(lambda task_status: peer.serve(task_status))
    rejects = {}
    for reason, message in BAD:
        rejects[reason] = rejects.get(reason, 0) + (2 if message == "[1,2]" else 1) * ROUNDS
    good = len(BAD) * ROUNDS + 1
    async with collector(tmp_path / "run", config_for(peer, symbols=["BTCUSDT"])) as service:
        await service.wait_received(good + sum(rejects.values()))
        _, metrics = await service.get("/metrics")
        identity = metrics["identity"]
        assert identity["rejected"] == sum(rejects.values())
        assert identity["received"] == good + sum(rejects.values())
        assert identity["holds"] is True
        assert await service.stop() == 0
        told = service.told("frame_rejected")
        assert {line["reason"] for line in told} == set(rejects)
        assert len(told) <= 2 * len(rejects)  # told once a second, counted always
        kinds = [line["kind"] for line in service.told("unknown_message")]
        assert sorted(kinds) == ["depthUpdate", "weather"]  # told once per kind
        assert [line["text"] for line in service.told("subscribe_refused")] == ["Invalid request: \\x1b[31mred"]
        assert not service.told("ws_disconnect")
        assert "\x1b" not in service.log_path.read_text()
    nursery.cancel_scope.cancel()
    assert peer.connections == 2
    rows = recorded(tmp_path / "run" / "data")
    assert sum(rows["bbo"].values()) == good
    in_manifests = {}
    for manifest in manifests(tmp_path / "run" / "data"):
        for loss in manifest["rejects"]:
            in_manifests[loss["reason"]] = in_manifests.get(loss["reason"], 0) + loss["count"]
    assert in_manifests == rejects
