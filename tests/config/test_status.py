"""What may be shown to whom."""

import pytest

from quantlab_collector.config import ConfigError


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "collector.internal"])
def test_the_inside_of_the_process_is_not_shown_to_everyone_by_accident(host, load_text):
    text = f'[status]\nhost = "{host}"\ndebug = true\n'

    with pytest.raises(
        ConfigError, match=r"status\.debug would show the inside of the process to everyone .* status\.debug_exposed"
    ):
        load_text(text)

    assert load_text(text + "debug_exposed = true").status.debug
    assert load_text(text + "enabled = false").status.debug
    assert load_text(f'[status]\nhost = "{host}"').status.debug is False


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_it_may_be_seen(host, load_text):
    assert load_text(f'[status]\nhost = "{host}"\ndebug = true').status.debug
