from __future__ import annotations

import pytest

from intake.support import Setting
from quantlab_collector.intake import wire, wire_trio_websocket

WIRES = {"wire": wire.open_wire, "wire_trio_websocket": wire_trio_websocket.open_wire}


@pytest.fixture(params=["plain", "tls"])
def transport(request) -> str:
    return request.param


@pytest.fixture(params=list(WIRES))
def plain(request) -> Setting:
    """Each wire, over TCP: for what TLS makes no difference to."""
    return Setting(request.param, WIRES[request.param], secure=False)


@pytest.fixture
def setting(plain, transport) -> Setting:
    """Each wire, over TCP and over TLS."""
    return Setting(plain.name, plain.open_wire, secure=transport == "tls")


@pytest.fixture
def secure(plain) -> Setting:
    """Each wire, over TLS."""
    return Setting(plain.name, plain.open_wire, secure=True)
