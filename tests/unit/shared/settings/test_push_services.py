"""Messages to browsers go to push services alone: no address that a page hands over leads this
machine to another host.
"""

from __future__ import annotations

import pytest

from shared.settings.push_services import MAX_ADDRESS, check_push_address, check_push_hosts

KNOWN = [
    "https://fcm.googleapis.com/fcm/send/abc:APA91",
    "https://fcm.googleapis.com:443/wp/abc",
    "https://updates.push.services.mozilla.com/wpush/v2/gAAA",
    "https://web.push.apple.com/QGx",
    "https://wns2-par02p.notify.windows.com/w/?token=BQYA%2b",
]
REFUSED = [
    "http://fcm.googleapis.com/fcm/send/abc",
    "https://fcm.googleapis.com:8443/fcm/send/abc",
    "https://fcm.googleapis.com.evil.example/x",
    "https://evil.example/fcm.googleapis.com",
    "https://fcm.googleapis.com@evil.example/x",
    "https://user:pw@fcm.googleapis.com/x",
    "https://evil.example\\.push.apple.com/x",
    "https://evil.example%2f.push.apple.com/x",
    "https://evil.example#.push.apple.com",
    "https://push.apple.com/x",
    "https://127.0.0.1/x",
    "https://[::1]/x",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/x",
    "https://router.lan/x",
    "https://2130706433/x",
    "https://fcm.googleapis.com:port/x",
    "https://fcm.googleapis.com/a b",
    "https://fcm.googleapis.com/\r\nx",
    "https://fcm.googleapis.com/ü",
    "https://fcm.googleapis.com/#x",
    "file:///etc/passwd",
    "ftp://fcm.googleapis.com/x",
    "//fcm.googleapis.com/x",
    "https:fcm.googleapis.com/x",
    "https://[fcm.googleapis.com/x",
    "",
    "https://fcm.googleapis.com/" + "x" * MAX_ADDRESS,
]


@pytest.mark.parametrize("address", KNOWN)
def test_the_push_services_of_browsers_are_known(address: str) -> None:
    assert check_push_address(address) == address


@pytest.mark.parametrize("address", REFUSED)
def test_another_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ValueError, match=r"push service|https") as refused:
        check_push_address(address)
    assert address not in str(refused.value) or not address


def test_an_unknown_host_is_refused_with_the_setting_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"'push\.example' is no push service.*NOTIFY__PUSH_HOSTS"):
        check_push_address("https://push.example/secret")


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("https://push.example:8443/x", "push.example"),
        ("https://one.push.example/x", "*.push.example"),
        ("http://127.0.0.1:9999/x", "127.0.0.1"),
        ("http://localhost:9999/x", "localhost"),
    ],
)
def test_a_host_that_the_owner_named_is_allowed(address: str, named: str) -> None:
    assert check_push_address(address, [named]) == address


def test_a_named_host_gets_no_plain_http_beyond_loopback() -> None:
    with pytest.raises(ValueError, match="is https"):
        check_push_address("http://push.example/x", ["push.example"])


def test_hosts_are_named_in_any_case_and_nothing_else_is_a_host() -> None:
    assert check_push_hosts(["Push.Example.org", "*.Example.org"]) == [
        "push.example.org",
        "*.example.org",
    ]
    for wrong in ("*", "https://x", "a b", "", "x.*", "*.*.org", "a/b", "x:1"):
        with pytest.raises(ValueError, match="is no host name"):
            check_push_hosts([wrong])
