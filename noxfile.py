"""The sessions of quantlab-collector: ``nox`` runs the default ones, ``nox --list`` shows all."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2026.10"
nox.options.sessions = ["lint", "imports", "types", "tests"]
nox.options.default_venv_backend = "venv"  # what Debian's python3-venv can do is enough
nox.options.error_on_external_run = True
nox.options.reuse_existing_virtualenvs = True

PACKAGE = "quantlab_collector"
SOURCES = (PACKAGE, "tests", "noxfile.py")
SUPPORTED = ("3.11", "3.12", "3.13")

# flake8-async finds what ruff's ASYNC group does not look for; both run. Its advice for other event loops stays off.
ASYNC_RULES = (
    "ASYNC100",  # a timeout around nothing that could time out
    "ASYNC101",  # yield inside a nursery or a cancel scope
    "ASYNC102",  # await while cleaning up, without a shield and a limit
    "ASYNC105",  # a Trio call that nobody awaits
    "ASYNC109",  # a timeout parameter, where the caller has cancel scopes
    "ASYNC112",  # a nursery for a single call
    "ASYNC113",  # start_soon of a function that start() could wait for
    "ASYNC119",  # yield inside a context manager of an async generator
    "ASYNC120",  # await inside except, which loses the exception when cancelled
    "ASYNC121",  # leaving a nursery by return, break or continue
    "ASYNC123",  # an exception of a group raised without its context
    "ASYNC126",  # an exception group without its own derive()
    "ASYNC128",  # a startable function that never says started()
    "ASYNC230",  # blocking open()
    "ASYNC232",  # blocking calls on a file
    "ASYNC240",  # blocking os.path
    "ASYNC401",  # Trio's deprecated names
    "ASYNC900",  # an async generator without a context manager around it
    "ASYNC913",  # an endless loop without a checkpoint
)
# Async means "can block". Quart wants its handlers async whether they do or not, so this does not hold where it is used.
ASYNC_MEANS_AWAIT = "ASYNC124"
QUART_FOLDERS = ("status", "simulators")
# Every way through an async function of the intake reaches a checkpoint: a socket that always has data must not starve the rest.
CHECKPOINT_RULES = ("ASYNC910", "ASYNC911")

# As many tests at a time as there are processors; -- -n 0 runs one after the other, for -s and a debugger.
SIDE_BY_SIDE = ("-n", "auto")

_PROBE = """
import ensurepip, sys  # Debian leaves ensurepip out when python3-venv is missing
if sys.prefix != sys.base_prefix: raise SystemExit("inside a virtual environment, which may vanish")
print(*sys.version_info[:2], sep=".")
print(sys.executable)
"""


def interpreter(version: str) -> str | None:
    """The absolute path of an interpreter of this version that really starts.

    A name on PATH proves nothing: a shim of pyenv stands there for every version that it has, and only starts the ones that are
    switched on. So each candidate is run, and behind PATH the folders are looked at that the shims hide.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    patches = [folder for folder in pyenv.glob(f"{version}.*") if re.fullmatch(r"\d+\.\d+\.\d+", folder.name)]
    patches.sort(key=lambda folder: int(folder.name.rpartition(".")[2]), reverse=True)
    folders = [
        Path(sys.base_prefix, "bin"),
        *map(Path, os.get_exec_path()),
        *(folder / "bin" for folder in patches),
        Path("/usr/bin"),
        Path("/usr/local/bin"),
    ]
    for folder in dict.fromkeys(folders):
        path = folder / f"python{version}"
        if not path.is_absolute() or not path.exists():
            continue
        try:
            probe = subprocess.run([path, "-c", _PROBE], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if probe.returncode == 0 and probe.stdout.startswith(version + "\n"):
            return probe.stdout.splitlines()[1]
    return None


def interpreters() -> dict[str, str]:
    """Where the supported versions are, those that this machine has. ``QUANTLAB_PYTHONS="3.11 3.13"`` asks for fewer."""
    wanted = os.environ.get("QUANTLAB_PYTHONS", "").split() or SUPPORTED
    found = {version: interpreter(version) for version in SUPPORTED if version in wanted}
    return {version: path for version, path in found.items() if path is not None}


PYTHONS = interpreters()


def install_dev(session: nox.Session) -> None:
    """Install what is locked for development, which includes all that the package needs to run."""
    session.install("--require-hashes", "-r", "requirements/dev.txt")


_wheels: list[Path] = []


def wheel(session: nox.Session) -> Path:
    """Build the wheel with the locked hatchling; the first session that asks builds it, the others get the same file."""
    if not _wheels:
        folder = Path(session.create_tmp(), "wheel")
        for old in folder.glob("*.whl"):
            old.unlink()
        session.run("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), silent=True)
        _wheels.extend(folder.glob("*.whl"))
    (built,) = _wheels
    return built


def install_wheel(session: nox.Session) -> None:
    """Install the wheel over what an earlier run left: the version is the same, the content may not be."""
    session.install("--no-deps", "--force-reinstall", str(wheel(session)))


def pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest against the installed wheel."""
    env = {
        "QUANTLAB_EXPECT_INSTALLED": "1",  # tests/test_installed.py looks where the package came from
        "PYTHONSAFEPATH": "1",  # no python, nor one that a test starts, sees the package of the working directory
    }
    session.run("python", "-m", "pytest", *arguments, *session.posargs, env=env)


def startable(files: list[Path]) -> set[str]:
    """The names of the functions that nursery.start() can wait for. ASYNC113 has to be told them."""
    functions = (
        node for file in files for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.AsyncFunctionDef)
    )
    return {function.name for function in functions if "task_status" in (argument.arg for argument in function.args.kwonlyargs)}


@nox.session(tags=["checks"])
def lint(session: nox.Session) -> None:
    """ruff, its formatter, and flake8-async."""
    install_dev(session)
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)

    package, tests = (sorted(Path(folder).rglob("*.py")) for folder in (PACKAGE, "tests"))
    names = ",".join(sorted(startable(package)))
    for files, rules in (
        (package + tests, ASYNC_RULES),
        ([file for file in package if file.parts[1] not in QUART_FOLDERS], (ASYNC_MEANS_AWAIT,)),
        ([file for file in package if file.parts[1] == "intake"], CHECKPOINT_RULES),
    ):
        options = (f"--enable={','.join(rules)}", f"--startable-in-context-manager={names}")
        session.run("flake8-async", *options, *map(str, files), log=False)


@nox.session(tags=["checks"])
def imports(session: nox.Session) -> None:
    """import-linter: the floors of the house, and where Trio may be."""
    install_dev(session)
    session.run("lint-imports")


@nox.session(tags=["checks"])
def types(session: nox.Session) -> None:
    """mypy, strict."""
    install_dev(session)
    session.run("mypy")


def test_one(session: nox.Session) -> None:
    """The tests on one version of Python, against the installed wheel."""
    install_dev(session)
    install_wheel(session)
    pytest(session, "-m", "not long", *SIDE_BY_SIDE, "--dist", "worksteal")


for version, path in PYTHONS.items():
    # nox would look on PATH for a plain "3.12" and may meet a dead shim there; it takes a path as it is.
    nox.session(test_one, name=f"tests-{version}", python=path)


@nox.session(python=False, requires=[f"tests-{version}" for version in PYTHONS])
def tests(session: nox.Session) -> None:
    """The tests, on every supported Python that this machine has."""
    if not PYTHONS:
        session.error(f"no Python to test on: of {', '.join(SUPPORTED)} none was found, or QUANTLAB_PYTHONS asks for none")
    missing = [version for version in SUPPORTED if version not in PYTHONS]
    session.log(f"tested on Python {', '.join(PYTHONS)}" + (f"; not on {', '.join(missing)}" if missing else ""))


@nox.session
def long(session: nox.Session) -> None:
    """The tests that take long, on one Python: what they are about is disks, stores and exchanges."""
    install_dev(session)
    install_wheel(session)
    pytest(session, "-m", "long", *SIDE_BY_SIDE, "--dist", "loadgroup")  # tests/conftest.py tells who is in a group


def peers(session: nox.Session) -> str:
    """The interpreter of an environment of those that the collector is compared with."""
    folder = Path(session.create_tmp(), "peers").absolute()
    python = str(folder / "bin" / "python")
    session.run("python", "-m", "venv", "--clear", str(folder), silent=True)
    session.run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", "requirements/peers.txt", external=True)
    return python


def bench(session: nox.Session) -> None:
    """What recording costs, next to others on the same wire: a table. --help behind -- tells what can be asked for."""
    install_dev(session)
    install_wheel(session)
    session.run("python", "tests/bench/run.py", *session.posargs, env={"QUANTLAB_BENCH_PEERS": peers(session)})


# Everything on one interpreter, the newest: a ratio between two versions of Python would say something else.
nox.session(bench, python=list(PYTHONS.values())[-1] if PYTHONS else None)


@nox.session
def soak(session: nox.Session) -> None:
    """The tests that can be told how much: minutes of each exchange, hundreds of kills, every error of the disk. Hours."""
    install_dev(session)
    install_wheel(session)
    session.env.update(
        QUANTLAB_TEST_EXCHANGE_SECONDS="60",
        QUANTLAB_TEST_SECONDS="60",
        QUANTLAB_TEST_KILLS="500",
        QUANTLAB_TEST_FAILPOINT_TRIALS="10",
        QUANTLAB_TEST_POWER_STATES="100000",
        QUANTLAB_TEST_DISK_MATRIX="1",
        QUANTLAB_TEST_API_SECONDS="60",
        QUANTLAB_TEST_BIT_FLIPS="10000",
        QUANTLAB_TEST_OUTAGE_SECONDS="300",
        QUANTLAB_TEST_OUTAGE_RATE="20000",
    )
    # No limit for a single test: these are meant to take long.
    pytest(session, "tests/service", "tests/storage", "tests/writer", "--capture=no", "-o", "faulthandler_timeout=0")


@nox.session
def s3(session: nox.Session) -> None:
    """The tests that need a real S3 server: Ceph's, from Debian's packages, on loopback and in a throw-away folder."""
    install_dev(session)
    install_wheel(session)
    script, folder = "tests/s3/ceph.py", Path(session.create_tmp(), "ceph")
    session.run("python", script, "install")
    session.run("python", script, "stop", str(folder), silent=True)  # what an interrupted run left
    try:
        session.run("python", script, "start", str(folder), silent=True)
        session.env.update({"QUANTLAB_TEST_S3_DIR": str(folder), "QUANTLAB_TEST_STORE_TABLE": "1"})
        pytest(session, "tests/s3", "tests/storage/test_objects_contract.py", "tests/writer/test_store_faults_table.py")
    finally:
        session.run("python", script, "stop", str(folder), silent=True)


@nox.session
def watch(session: nox.Session) -> None:
    """The tests that need a real Prometheus, from Debian's package: it scrapes a collector, and checks rules and dashboard."""
    install_dev(session)
    install_wheel(session)
    session.run("python", "tests/watch/prometheus_server.py", "install")
    session.env["QUANTLAB_EXPECT_PROMETHEUS"] = "1"
    pytest(session, "tests/watch")


@nox.session
def lock(session: nox.Session) -> None:
    """Write requirements/*.txt anew; what is locked stays unless told otherwise: nox -s lock -- --upgrade."""
    install_dev(session)
    # No setting of this machine may show in a lock: everybody gets these packages from the public index.
    env = {name: None for name in os.environ if name.startswith("UV_")}
    for source, target in (
        ("pyproject.toml", "requirements/run.txt"),
        ("requirements/dev.in", "requirements/dev.txt"),
        ("requirements/peers.in", "requirements/peers.txt"),
    ):
        session.run(
            *("uv", "pip", "compile", "--quiet", "--no-config", "--generate-hashes"),
            # One lock for all supported versions of Python, with markers where they differ.
            *("--universal", "--python-version", SUPPORTED[0], "--fork-strategy", "fewest"),
            *("--custom-compile-command", "nox -s lock"),
            *("--output-file", target, source, *session.posargs),
            env=env,
        )
