"""Real disks that are full, out of inodes, read-only, or at a limit: the collector says so, lives, and goes on by itself.

The disk is a small tmpfs that only the collector sees: in a mount namespace of its own, which takes root.
"""

from __future__ import annotations

import resource
import subprocess
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from quantlab_collector.simulators.binance import BinanceOptions, serve_binance
from service.harness import collector, config_for, differences, manifests, owed, recorded

pytestmark = pytest.mark.long

SYMBOLS = ("BTCUSDT", "ETHUSDT")
NAMESPACE = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
ON_A_SMALL_DISK = 'mount -t tmpfs -o size=3m,nr_inodes=200 tmpfs spool && exec "$@"'
SETTINGS = """
[spool]
min_free = "{min_free}"
[queue]
max_events = 1000
[journal]
interval = "50ms"
"""
LIMIT = 20


def _mount_namespaces_work(folder):
    command = (*NAMESPACE, "mount -t tmpfs tmpfs .")
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def no_space():
    return pytest.raises(OSError, match="No space left on device")


class SmallDisk:
    """The spool of a running collector, as it sees it, and what can be done to it from outside."""

    def __init__(self, pid, spool):
        self.pid = pid
        self.spool = spool
        self.seen = Path(f"/proc/{pid}/root") / spool.relative_to("/")

    def _mount(self, *arguments):
        subprocess.run(("nsenter", "--target", str(self.pid), "--mount", *arguments), check=True, capture_output=True)

    @asynccontextmanager
    async def full(self):
        """A stranger's file takes all the space, and what is set free."""
        async with trio.open_nursery() as nursery:
            with (self.seen / "stranger").open("wb", buffering=0) as stranger:

                async def grow():
                    while True:
                        for size in (65_536, 512):
                            with no_space():
                                while True:  # noqa: ASYNC913 - until there is no space
                                    stranger.write(bytes(size))
                        await trio.sleep(0.005)

                nursery.start_soon(grow)
                yield
                nursery.cancel_scope.cancel()
        (self.seen / "stranger").unlink()

    @asynccontextmanager
    async def without_inodes(self):
        """Strangers' files, empty, take all the inodes."""
        made = []

        async def make():
            while True:
                with no_space():
                    while True:  # noqa: ASYNC913 - until there is no space
                        path = self.seen / f"stranger{len(made)}"
                        path.touch()
                        made.append(path)
                await trio.sleep(0.005)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(make)
            yield
            nursery.cancel_scope.cancel()
        for path in made:
            path.unlink()

    @asynccontextmanager
    async def read_only(self):
        """The same folder again, over itself, and not to be written to: what is open stays so until it is sealed."""
        beside = self.spool.with_name("read-only")
        beside.mkdir()
        self._mount("mount", "--bind", str(self.spool), str(beside))
        self._mount("mount", "-o", "remount,bind,ro", str(beside))
        # In one step. Would it become read-only in its place, a segment that was opened there just before would not let it.
        self._mount("mount", "--move", str(beside), str(self.spool))
        yield
        self._mount("umount", str(self.spool))

    @asynccontextmanager
    async def limited(self):
        """No file may grow beyond 32 KiB; a segment that is given up for it is followed by one that meets it again."""
        before = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (32 * 1024, before[1]))
        yield
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, before)


DISTURBANCES = {
    "full": (SmallDisk.full, "disk_full", "1B"),
    "less free than asked for": (SmallDisk.full, "disk_full", "256KiB"),
    "out of inodes": (SmallDisk.without_inodes, "disk_full", "1B"),
    "read-only": (SmallDisk.read_only, "read_only", "1B"),
    "limited": (SmallDisk.limited, "quota", "1B"),
}


@pytest.mark.parametrize(("disturb", "obstacle", "min_free"), DISTURBANCES.values(), ids=DISTURBANCES)
async def test_it_says_so_lives_and_goes_on(disturb, obstacle, min_free, tmp_path, nursery):
    if not _mount_namespaces_work(tmp_path):
        pytest.skip("NOT RUN: a mount namespace with a tmpfs takes root, and a system that lets it")
    simulator = await nursery.start(serve_binance, BinanceOptions(symbols=SYMBOLS, rate=3_000, seed=9))
    # A file's limit is met by long segments, the other states by new ones.
    flush = "60s" if obstacle == "quota" else "250ms"
    config = config_for(simulator, symbols=SYMBOLS, flush=flush, more=SETTINGS.format(min_free=min_free))
    folder = tmp_path / "run"
    (folder / "spool").mkdir(parents=True)
    async with collector(folder, config, around=(*NAMESPACE, ON_A_SMALL_DISK, "sh")) as service:
        disk = SmallDisk(service.process.pid, folder / "spool")
        await service.wait_received(500)
        connected = len(simulator.connections)
        async with disturb(disk):
            with trio.fail_after(LIMIT):
                while obstacle not in {told["obstacle"] for told in service.told("recording_hindered")}:
                    await trio.sleep(0.02)
                while not await is_dropping(service, obstacle):
                    await trio.sleep(0.02)
        with trio.fail_after(LIMIT):
            while (await service.get("/status"))[1]["state"] == "ERROR" or not service.told("recording_resumed"):
                await trio.sleep(0.02)
            assert (await service.get("/ready"))[0] == 200
        written = (await service.get("/metrics"))[1]["identity"]["received"]
        await service.wait_received(written + 500)
        simulator.pause()
        await simulator.wait_quiet()
        sent = owed(simulator)
        await service.wait_received(sum(map(len, sent.values())))
        assert [info.closed_ns for info in simulator.connections] == [None] * connected
        assert await service.stop() == 0
        (stop,) = service.told("collector_stop")
        assert not service.told("spool_quarantine")
    nursery.cancel_scope.cancel()

    got, drops = recorded(folder / "data"), Counter()
    for loss in (loss for manifest in manifests(folder / "data") for loss in manifest["drops"]):
        drops[loss["reason"]] += loss["count"]
    for stream, found in differences(got, sent).items():
        assert (found["foreign"], found["twice"]) == (0, 0), (stream, found)
    assert stop["received"] == stop["written"] + stop["dropped"] == sum(map(len, sent.values()))
    assert stop["written"] == sum(map(len, got.values()))
    assert (drops.total(), drops[obstacle] > 0) == (stop["dropped"], True)
    print(f"{obstacle}: {stop['received']} received, {stop['written']} stored, dropped {dict(drops)}")


async def is_dropping(service, obstacle):
    status = (await service.get("/status"))[1]
    dropped = (await service.get("/metrics"))[1]["identity"]["dropped"]
    return status["state"] == "ERROR" and dropped and any(told["reason"] == obstacle for told in service.told("queue_full_drop"))
