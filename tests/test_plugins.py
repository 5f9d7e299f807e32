"""Plug-ins by import path: a bad one raises one paragraph before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scorer.build.model_provider import make_provider
from scorer.build.plan import check
from scorer.errors import SpecError
from scorer.metrics import load
from scorer.publish.publish import publisher

BAD = """
class Raises:
    default_base_url = "http://127.0.0.1:1"

    def __init__(self, *args, **keys):
        raise ValueError("no weights")


class Picky:
    default_base_url = "http://127.0.0.1:1"

    def __init__(self, *, one, two):
        pass


class Empty:
    default_base_url = "http://127.0.0.1:1"

    def __init__(self, *args, **keys):
        pass


class Nowhere(Empty):
    default_base_url = None


class Refuses(Empty):
    def __init__(self, *args, **keys):
        from scorer.errors import SpecError

        raise SpecError(["Its own words."])


value = 3
"""


@pytest.fixture
def bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_plugins.py").write_text(BAD)
    (tmp_path / "broken_plugin.py").write_text("def (:\n")
    (tmp_path / "raising_plugin.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)


def tree(**tables: Any) -> dict[str, Any]:
    base = {
        "input": {"shards": ["x"]},
        "judge": {"prompt": "Rate: {response}"},
        "model": {"name": "m"},
        "output": {"path": "o"},
    }
    return {**base, **tables}


def judge(path: str) -> object:
    return check(tree(judge={"kind": path}))


def provider(path: str) -> object:
    model = check(tree(model={"name": "m", "provider": path})).spec.all_models[0]
    return make_provider(model, "http://127.0.0.1:1", {})


def publishing(path: str) -> object:
    return publisher(f"{path}://place")


KINDS = {"judge": judge, "provider": provider, "metric": load, "publisher": publishing}


@pytest.mark.usefixtures("bad")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no_such_module_here:Name", "cannot be imported: it needs no_such_module_here"),
        ("bad_plugins:Nope", "cannot be imported: .*Nope"),
        (":Name", "cannot be imported"),
        ("broken_plugin:Name", "cannot be imported: SyntaxError.*broken_plugin"),
        ("raising_plugin:Name", r"cannot be imported: ZeroDivisionError.*raising_plugin.py, line 1\)"),
        ("bad_plugins:value", "is of type int"),
        ("bad_plugins:Raises", r"cannot be constructed: ValueError: no weights \(.*bad_plugins.py, line 6\)"),
        ("bad_plugins:Picky", "cannot be constructed: TypeError|is missing"),
        ("bad_plugins:Empty", "lacks "),
        ("bad_plugins:Refuses", "^Its own words.$"),
    ],
)
def test_plugin_that_cannot_be_constructed_raises_spec_error_with_the_reason(kind: str, path: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        KINDS[kind](path)
    assert len(caught.value.problems) == 1
    assert path in str(caught.value) or "own words" in said


@pytest.mark.usefixtures("bad")
def test_check_refuses_a_provider_that_cannot_be_imported() -> None:
    with pytest.raises(SpecError, match=r'model.provider = "bad_plugins:Nope" cannot be imported'):
        check(tree(model={"name": "m", "provider": "bad_plugins:Nope"}))


@pytest.mark.usefixtures("bad")
def test_check_refuses_a_plugin_provider_without_an_address() -> None:
    with pytest.raises(SpecError, match=r"model.base_url is missing"):
        check(tree(model={"name": "m", "provider": "bad_plugins:Nowhere"}))
