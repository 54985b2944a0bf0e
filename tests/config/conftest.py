"""Two exchanges that never change, and a folder with a config file in it."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from quantlab_collector.config import Config, ConfigError, load
from quantlab_collector.contracts.events import StreamType
from quantlab_collector.exchanges.protocol import Endpoints

FOUR = (StreamType.BBO, StreamType.TRADE, StreamType.MARK_PRICE, StreamType.FUNDING)


@pytest.fixture(scope="session")
def exchanges():
    return {
        "binance": SimpleNamespace(name="binance", streams=FOUR, endpoints=Endpoints("wss://b.test", "https://b.test")),
        "okx-spot": SimpleNamespace(
            name="okx-spot", streams=(StreamType.TRADE,), endpoints=Endpoints("wss://o.test:8443", "https://o.test")
        ),
    }


@pytest.fixture
def load_text(exchanges, tmp_path, monkeypatch) -> Callable[..., Config]:
    """Load a text as ``collector.toml``, from the folder in which it stands."""
    monkeypatch.chdir(tmp_path)

    def load_it(text="", environ=None, symbols=None) -> Config:
        (tmp_path / "collector.toml").write_text(text, encoding="utf-8")
        path = type(tmp_path)("collector.toml")
        return load(path, environ or {}, symbols, exchanges=exchanges)

    return load_it


@pytest.fixture
def errors(load_text) -> Callable[..., list[str]]:
    """The errors of a text that does not load."""

    def errors_of(*args, **kwargs) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_text(*args, **kwargs)
        assert str(caught.value) == "\n".join(caught.value.errors)
        return list(caught.value.errors)

    return errors_of
