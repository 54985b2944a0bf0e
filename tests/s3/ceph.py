"""A real S3 server on loopback: Ceph's monitor, one storage daemon in memory, and its S3 gateway, in a throw-away folder.

As a module it is a class; as a command it does the same step by step:

    python ceph.py install            the Debian packages; the only step that needs root
    python ceph.py start DIR          prints where it is, for a shell's eval
    python ceph.py kill-gateway DIR   the gateway dies; the objects stay
    python ceph.py start-gateway DIR
    python ceph.py pause DIR          the gateway freezes: connections are accepted, and nobody answers
    python ceph.py unpause DIR
    python ceph.py suspend DIR        the account is not welcome any more
    python ceph.py enable DIR
    python ceph.py stop DIR           everything is killed and the folder removed

Only the standard library is used: nox runs this with whatever Python there is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

PACKAGES = ("ceph-mon", "ceph-osd", "radosgw", "curl")
PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "curl")
BUCKET, ACCESS_KEY, SECRET_KEY, USER = "test-bucket", "testaccess", "testsecret0123", "test"
REGION = "us-east-1"
NOTHING = hashlib.sha256(b"").hexdigest()

# paxos_…: without them the monitor waits for its timer at each of a dozen steps, and a start takes ten seconds longer.
# $pid in admin_socket: else radosgw-admin would complain about the gateway's.
# tcp_nodelay: without it every small answer takes 40 ms.
CONFIG = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon_port}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
keyring = {dir}/keyring
run_dir = {dir}
crash_dir = {dir}
log_file = {dir}/$name.log
admin_socket = {dir}/$name.$pid.asok
mon_cluster_log_file = {dir}/cluster.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_data_avail_warn = 1
mon_data_avail_crit = 1
auth_allow_insecure_global_id_reclaim = false
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
[mon]
mon_data = {dir}/mon
[osd]
osd_data = {dir}/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
"""
# Who may do what. With one keyring for all, nobody has to be asked for permission while the cluster comes up.
KEYS = {
    "mon.": ("mon", "allow *"),
    "client.admin": ("mon", "allow *", "osd", "allow *"),
    "osd.0": ("mon", "allow profile osd", "osd", "allow *"),
    "client.rgw": ("mon", "allow rwx", "osd", "allow rwx"),
}


class CephError(Exception):
    """It did not come up, or cannot be installed."""


def missing_programs() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name) is None]


def install() -> None:
    """Install what is missing, with apt."""
    if not missing_programs():
        return
    if shutil.which("apt-get") is None:
        raise CephError(f"{', '.join(missing_programs())} are not installed, and there is no apt-get to install them with")
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    if as_root and shutil.which("sudo") is None:
        raise CephError(f"needs the Debian packages {' '.join(PACKAGES)}: install them, or run this as root")
    for step in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *PACKAGES]):
        command = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *step]
        ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if ended.returncode:
            raise CephError(f"apt-get {step[0]} failed: {ended.stdout[-2000:]}")
    if missing := missing_programs():
        raise CephError(f"the packages are installed, and {', '.join(missing)} are still missing")


class Ceph:
    """The server whose state is in a folder. Each step can be a process of its own: what has to be known stands in files."""

    def __init__(self, folder: Path) -> None:
        self.dir = folder.resolve()

    # ------------------------------------------------------------------------------------------------- start and stop

    def start(self) -> None:
        if (self.dir / "ceph.conf").exists():
            raise CephError(f"{self.dir} already holds a server; stop it first")
        if missing := missing_programs():
            raise CephError(f"{', '.join(missing)} not installed: `install` does that")
        for name in ("mon", "osd"):
            (self.dir / name).mkdir(parents=True)
        try:
            self._build()
            self.start_gateway()
            self._make_bucket()
        except BaseException:
            self.stop()
            raise

    def _build(self) -> None:
        mon_port, port = _free_ports(2)
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        (self.dir / "port").write_text(str(port))
        (self.dir / "ceph.conf").write_text(CONFIG.format(dir=self.dir, fsid=fsid, mon_port=mon_port, port=port))
        keyring, monmap = str(self.dir / "keyring"), str(self.dir / "monmap")
        for number, (name, caps) in enumerate(KEYS.items()):
            pairs = [word for kind, cap in zip(caps[::2], caps[1::2], strict=True) for word in ("--cap", kind, cap)]
            self._run("ceph-authtool", keyring, *([] if number else ["--create-keyring"]), "--gen-key", "-n", name, *pairs)
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{mon_port}]", monmap)
        self._run("ceph-mon", *self._conf, "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
        self._spawn("mon", "ceph-mon", "-f", *self._conf, "-i", "a")
        self._run("ceph", *self._conf, "--connect-timeout", "60", "osd", "new", osd)
        self._run("ceph-osd", *self._conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("osd", "ceph-osd", "-f", *self._conf, "-i", "0")
        self._admin("user", "create", "--display-name=test", f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")

    def stop(self) -> None:
        """Nothing of it is worth an orderly end."""
        for name in ("rgw", "osd", "mon"):
            self._kill(name)
        shutil.rmtree(self.dir, ignore_errors=True)

    # ----------------------------------------------------------------------------------------------------------- faults

    def kill_gateway(self) -> None:
        self._kill("rgw")

    def start_gateway(self) -> None:
        self._spawn("rgw", "radosgw", "-f", *self._conf, "-n", "client.rgw")
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if not self._is_running("rgw") or time.monotonic() > deadline:
                    raise CephError(f"the gateway did not come up: {self._last_words('rgw')}") from None
                time.sleep(0.05)

    def pause(self) -> None:
        os.kill(self._pid("rgw"), signal.SIGSTOP)

    def unpause(self) -> None:
        os.kill(self._pid("rgw"), signal.SIGCONT)

    def suspend(self) -> None:
        self._admin("user", "suspend")

    def enable(self) -> None:
        self._admin("user", "enable")

    def heal(self) -> None:
        """Bring the gateway back, whatever a test did to it."""
        if self._is_running("rgw"):
            self.unpause()
        else:
            self.start_gateway()

    # ------------------------------------------------------------------------------------------------------------ facts

    @property
    def port(self) -> int:
        return int((self.dir / "port").read_text())

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """Where it is. The last one is what tests in another process look for."""
        return {
            "S3_ENDPOINT": self.endpoint,
            "S3_BUCKET": BUCKET,
            "S3_ACCESS_KEY": ACCESS_KEY,
            "S3_SECRET_KEY": SECRET_KEY,
            "QUANTLAB_TEST_S3_DIR": str(self.dir),
        }

    def keys(self, prefix: str) -> list[str]:
        """What lies below a prefix, told by the server's own tool."""
        listed = self._admin_json("bucket", "list", f"--bucket={BUCKET}", "--max-entries=100000", "--allow-unordered")
        return sorted(entry["name"] for entry in listed if entry["name"].startswith(prefix))

    def curl(self, path: str, *options: str) -> bytes:
        """A signed request by curl, which has nothing in common with what is tested."""
        # curl leaves the header out that it signs.
        command = ("curl", "-sS", "--fail", "--aws-sigv4", f"aws:amz:{REGION}:s3", "--user", f"{ACCESS_KEY}:{SECRET_KEY}")
        ended = subprocess.run(
            [*command, "-H", f"x-amz-content-sha256: {NOTHING}", *options, f"{self.endpoint}/{path}"],
            check=False,
            capture_output=True,
        )
        if ended.returncode:
            raise CephError(f"curl {path}: {ended.stderr.decode()}")
        return ended.stdout

    def _make_bucket(self) -> None:
        self.curl(BUCKET, "-X", "PUT")

    # -------------------------------------------------------------------------------------------------------- processes

    @property
    def _conf(self) -> tuple[str, ...]:
        return ("-c", str(self.dir / "ceph.conf"))

    def _admin(self, *words: str) -> None:
        self._run("radosgw-admin", *self._conf, "-n", "client.rgw", *words, f"--uid={USER}")

    def _admin_json(self, *words: str) -> list[dict[str, str]]:
        command = ("radosgw-admin", *self._conf, "-n", "client.rgw", *words)
        return json.loads(
            subprocess.run(command, check=True, timeout=90, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        )

    def _run(self, *command: str) -> None:
        ended = subprocess.run(command, check=False, timeout=90, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if ended.returncode:
            raise CephError(f"{' '.join(command)}: {ended.stdout[-2000:]}")

    def _spawn(self, name: str, *command: str) -> None:
        with (self.dir / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        process.returncode = 0  # it outlives us; nobody is to wait for it, or to warn that nobody did
        (self.dir / f"{name}.pid").write_text(str(process.pid))

    def _pid(self, name: str) -> int:
        return int((self.dir / f"{name}.pid").read_text())

    def _is_running(self, name: str) -> bool:
        try:
            state = Path(f"/proc/{self._pid(name)}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z"

    def _kill(self, name: str) -> None:
        if not self._is_running(name):
            return
        os.kill(self._pid(name), signal.SIGKILL)
        while self._is_running(name):
            time.sleep(0.01)

    def _last_words(self, name: str) -> str:
        return (self.dir / f"{name}.out").read_text(errors="replace")[-1000:]


def _free_ports(count: int) -> list[int]:
    """Nobody else may have them before we bind them; on a machine where that happens, a second start helps."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


COMMANDS = ("start", "stop", "kill-gateway", "start-gateway", "pause", "unpause", "suspend", "enable")


def main(arguments: list[str]) -> int:
    try:
        if arguments == ["install"]:
            install()
        elif len(arguments) == 2 and arguments[0] in COMMANDS:
            server = Ceph(Path(arguments[1]))
            getattr(server, arguments[0].replace("-", "_"))()
            if arguments[0] == "start":
                print(*(f"export {name}={value}" for name, value in server.variables.items()), sep="\n")
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except (CephError, OSError, subprocess.TimeoutExpired) as fault:
        print(f"ceph.py: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
