"""The distribution: what is tested is what a user installs, and it is whole."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import pytest

import quantlab_collector

installed = pytest.mark.skipif(
    "QUANTLAB_EXPECT_INSTALLED" not in os.environ,
    reason="a run in the tree: the package need not be installed",
)
SITE_PACKAGES = Path(sysconfig.get_path("purelib")).resolve()


@installed
def test_the_package_under_test_is_the_installed_one() -> None:
    assert Path(quantlab_collector.__file__).resolve().is_relative_to(SITE_PACKAGES)


@installed
def test_a_child_process_gets_the_installed_package_too() -> None:
    child = subprocess.run(
        [sys.executable, "-c", "import quantlab_collector; print(quantlab_collector.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert Path(child.stdout.strip()).resolve().is_relative_to(SITE_PACKAGES)


@installed
def test_the_version_of_the_package_is_that_of_the_distribution() -> None:
    assert quantlab_collector.__version__ == metadata.version("quantlab-collector")


@installed
def test_the_command_leads_to_the_cli() -> None:
    scripts = metadata.distribution("quantlab-collector").entry_points.select(group="console_scripts")

    assert {script.name: script.value for script in scripts} == {"quantlab-collector": "quantlab_collector.cli:main"}


@installed
def test_nothing_but_the_package_is_installed() -> None:
    names = {Path(str(path)).parts[0] for path in metadata.files("quantlab-collector") or ()}

    assert {name for name in names if not name.endswith(".dist-info")} <= {"quantlab_collector", ".."}  # ..: the command in bin


def test_types_travel_with_the_package() -> None:
    assert files(quantlab_collector).joinpath("py.typed").is_file()
