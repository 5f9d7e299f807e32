"""Promise: only the run file's own models are defined without pydantic's plug-ins; what the user set stays."""

from __future__ import annotations

import os

import pytest

from scorer.config.pydantic_plugins import no_plugins

SWITCH = "PYDANTIC_DISABLE_PLUGINS"


def test_plugins_are_off_inside_and_on_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    inside = []

    def fails() -> None:
        with no_plugins():
            inside.append(os.environ[SWITCH])
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert inside == ["__all__"]
    assert SWITCH not in os.environ


def test_the_users_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "logfire-plugin")
    with no_plugins():
        assert os.environ[SWITCH] == "logfire-plugin"
    assert os.environ[SWITCH] == "logfire-plugin"
