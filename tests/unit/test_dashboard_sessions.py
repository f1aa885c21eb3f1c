"""Log-ins: how long they last, and what ends them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from itsdangerous import TimestampSigner

from escapement.errors import ConfigurationError
from escapement.settings import DashboardSettings
from escapement.web.security.sessions import Sessions, signing_key
from escapement.web.visitor import Role, Visitor

OTHER_HASH = "$argon2id$another"


def test_a_log_in_lasts_its_time_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(b"key", hours=2)
    value = sessions.begin(Role.VIEWER)
    found = sessions.read(value)
    assert found is not None
    assert found.role is Role.VIEWER
    assert found.until_s == pytest.approx(time.time() + 7_200, abs=5)
    begun = time.time()
    for later, lasts in ((7_100, True), (7_202, False)):
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _, at=begun + later: int(at))
        assert (sessions.read(value) is not None) is lasts


def test_each_log_in_ends_for_itself() -> None:
    sessions = Sessions(b"key", hours=2)
    first, second = sessions.begin(Role.OPERATOR), sessions.begin(Role.OPERATOR)
    ended = sessions.read(first)
    assert ended is not None
    sessions.end(ended.number, ended.until_s)
    assert sessions.read(first) is None
    assert sessions.read(second) is not None


def test_who_logged_out_stays_out_when_the_dashboard_starts_again(tmp_path: Path) -> None:
    file = tmp_path / "ended"
    sessions = Sessions(b"key", 2, file)
    first, second = sessions.begin(Role.OPERATOR), sessions.begin(Role.OPERATOR)
    ended = sessions.read(first)
    assert ended is not None
    sessions.end(ended.number, ended.until_s)
    again = Sessions(b"key", 2, file)
    assert again.read(first) is None
    assert again.read(second) is not None
    file.write_bytes(b"[spoilt")
    assert Sessions(b"key", 2, file).read(second) is not None


def test_a_visitor_may_steer_until_his_log_in_is_over() -> None:
    assert Visitor(Role.OPERATOR, "192.0.2.1").may_steer
    assert not Visitor(Role.OPERATOR, "192.0.2.1", until_s=time.time() - 1, session="x").may_steer
    assert not Visitor(Role.VIEWER, "192.0.2.1").may_steer


def test_the_key_stays_is_for_its_owner_alone_and_changes_with_a_password(tmp_path: Path) -> None:
    chosen = DashboardSettings.model_validate({"password_hash": "$argon2id$one"})
    key = signing_key(chosen, tmp_path / "data")
    assert signing_key(chosen, tmp_path / "data") == key
    assert (tmp_path / "data" / "dashboard.key").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in (tmp_path / "data").iterdir()] == ["dashboard.key"]
    assert signing_key(chosen, tmp_path / "other") != key
    value = Sessions(key, 2).begin(Role.OPERATOR)
    one = {"password_hash": "$argon2id$one"}
    for changed in ({"password_hash": OTHER_HASH}, {**one, "viewer_password_hash": OTHER_HASH}):
        other = signing_key(DashboardSettings.model_validate(changed), tmp_path / "data")
        assert Sessions(other, 2).read(value) is None


def test_a_key_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "dashboard.key").write_bytes(b"short")
    with pytest.raises(ConfigurationError, match=r"dashboard\.key is spoilt; remove it"):
        signing_key(DashboardSettings(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="name a folder to write to"):
        signing_key(DashboardSettings(), tmp_path / "file")
