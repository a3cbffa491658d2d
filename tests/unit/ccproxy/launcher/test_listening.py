"""The socket of a stack listens where it is told, and this machine knows how to reach it."""

from __future__ import annotations

import socket

import pytest

from ccproxy.launcher.listening import Unavailable, listen, local_host, local_url
from shared.settings.problems import ConfigurationError


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_it_listens_where_it_is_told(host):
    with listen(host, 0) as listening, socket.create_connection((host, listening.getsockname()[1])):
        pass


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("", "127.0.0.1"),
        ("localhost", "localhost"),
        ("10.1.2.3", "10.1.2.3"),
    ],
)
def test_this_machine_reaches_itself(host, local):
    assert local_host(host) == local


def test_an_address_with_colons_stands_in_brackets():
    assert local_url("::", 8000) == "http://[::1]:8000"
    assert local_url("0.0.0.0", 8000) == "http://127.0.0.1:8000"


def test_a_taken_port_is_no_fault_of_the_configuration():
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(Unavailable, match="in use"),
    ):
        listen("127.0.0.1", other.getsockname()[1])


def test_a_host_that_no_name_server_knows_is_named():
    with pytest.raises(ConfigurationError, match=r"SERVER__HOST: 'no such host\.invalid'"):
        listen("no such host.invalid", 0)
