"""A network that cannot be read stops the start with a sentence."""

from __future__ import annotations

import pytest

from shared.settings.problems import ConfigurationError
from shared.settings.tree import load_settings


@pytest.mark.parametrize(
    "network", ["10.0.0.1", "10.0.0.0/8", "10.1.2.3/8", "::1", "2001:db8::/32"]
)
def test_addresses_and_networks_are_taken(network: str) -> None:
    assert load_settings(server={"trusted_proxies": [network]}).server.trusted_proxies == [network]


@pytest.mark.parametrize("network", ["nginx", "10.0.0.0/33", "10.0.0.1:80", ""])
def test_any_other_text_is_refused_by_its_name(network: str) -> None:
    with pytest.raises(ConfigurationError, match="is no IP address or network"):
        load_settings(server={"trusted_proxies": [network]})
