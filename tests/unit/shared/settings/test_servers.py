import pytest

from shared.settings.problems import ConfigurationError
from shared.settings.servers import RedisSettings, ServerSettings


def test_the_address_of_redis_is_readable_and_its_settings_hide_the_password() -> None:
    settings = RedisSettings.model_validate({"url": "redis://:s3cret@127.0.0.1:6379/0"})
    assert settings.address() == "redis://:s3cret@127.0.0.1:6379/0"
    assert "s3cret" not in repr(settings)


def test_a_service_without_an_address_of_redis_says_which_command_sets_it() -> None:
    with pytest.raises(ConfigurationError, match="`ccproxy serve` sets it"):
        RedisSettings().address()


@pytest.mark.parametrize(
    ("url", "elsewhere"),
    [
        (None, False),
        ("unix:///run/redis.sock", False),
        ("redis://127.0.0.1:6379/0", False),
        ("redis://localhost", False),
        ("rediss://:secret@[::1]:6379", False),
        ("redis://redis:6379/0", True),
        ("rediss://:secret@10.0.0.7:6380/1", True),
        ("redis+sentinel://127.0.0.1:26379,10.0.0.7:26379/main", True),
    ],
)
def test_redis_is_elsewhere_unless_its_address_is_of_this_machine(
    url: str | None, elsewhere: bool
) -> None:
    assert RedisSettings.model_validate({"url": url}).is_elsewhere() is elsewhere


@pytest.mark.parametrize("field", ["workers", "max_body_bytes", "connections_per_address"])
def test_a_limit_of_zero_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        ServerSettings.model_validate({field: 0})
