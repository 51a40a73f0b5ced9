"""A webhook is signed as the specification says, and goes to no address that the site did not allow."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from npc_contour.adapters.webhooks import Hook, WebhookCaller, read_secret, sign
from npc_contour.errors import SettingsError, WebhookError
from npc_testkit.certificates import Authority, Identity
from npc_testkit.receivers import receiver

SECRET = bytes(range(32))
ANYWHERE = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
NOW = datetime(2026, 11, 24, 9, 15, tzinfo=UTC)


def call(url: str, *networks: str) -> int:
    hook = Hook("ris", url, SECRET, [ip_network(one) for one in networks], timeout_s=2.0)
    return WebhookCaller({"ris": hook}).call("ris", "msg", NOW, b"{}")


def test_signature_is_that_of_the_specifications_own_example() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

    assert (
        sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.5", "192.168.1.1", "169.254.169.254", "[::ffff:127.0.0.1]", "0"]
)
def test_addresses_that_are_not_public_must_be_named(host: str) -> None:
    with pytest.raises(WebhookError, match=r"not public.*webhooks\.networks"):
        call(f"http://{host}:9/")


def test_a_named_network_is_called_and_no_other() -> None:
    with receiver(SECRET) as ris:
        assert call(ris.url, "127.0.0.0/8") == 204
        with pytest.raises(WebhookError, match="not public"):
            call(ris.url, "10.0.0.0/8")

    assert [(one.message_id, one.timestamp, one.signed) for one in ris.told] == [("msg", int(NOW.timestamp()), True)]
    assert ris.told[0].headers["host"] == f"127.0.0.1:{ris.port}"


def test_a_redirect_is_not_followed() -> None:
    with receiver(SECRET) as other, receiver(SECRET) as ris:
        ris.answers, ris.location = [302], other.url
        assert call(ris.url, "127.0.0.0/8") == 302

    assert other.told == []


def test_the_certificate_must_be_that_of_the_name_in_the_url_though_the_address_is_called(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other")

    def call_as(identity: Identity, trusted: Path) -> int:
        with receiver(SECRET, tls=identity) as ris:
            url = f"https://localhost:{ris.port}/"
            hook = Hook("ris", url, SECRET, ANYWHERE, timeout_s=5.0, ca_file=str(trusted))
            return WebhookCaller({"ris": hook}).call("ris", "msg", NOW, b"{}")

    assert call_as(authority.issue("localhost"), authority.certificate) == 204
    with pytest.raises(WebhookError, match="certificate verify failed"):
        call_as(authority.issue("ris.example"), authority.certificate)
    with pytest.raises(WebhookError, match="certificate verify failed"):
        call_as(authority.issue("localhost"), other.certificate)


def test_nobody_there_is_an_error_that_says_so() -> None:
    with pytest.raises(WebhookError, match="ris does not answer"):
        call("http://127.0.0.1:1/", "127.0.0.0/8")
    with pytest.raises(WebhookError, match=r"no address of nowhere\.invalid"):
        call("http://nowhere.invalid/")


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_!!", base64.b64encode(SECRET).decode()])
def test_a_secret_that_will_not_do_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text, encoding="ascii")

    with pytest.raises(SettingsError, match=r"webhooks\.secret_file of ris"):
        read_secret(path, "ris")


def test_a_secret_is_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"whsec_{base64.b64encode(SECRET).decode()}\n", encoding="ascii")

    assert read_secret(path, "ris") == SECRET
