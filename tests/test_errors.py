"""Errors say what was found and what to do."""

from __future__ import annotations

import pytest

from guardeval.errors import PluginError, needs_extra


def test_a_package_that_is_not_there_is_named_with_the_command_that_installs_it():
    said = r"'no_such_package', which is not installed: pip install 'guardeval\[hub\]'"
    with pytest.raises(PluginError, match=said), needs_extra("hub"):
        import no_such_package  # noqa: F401


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ImportError('libcudart.so.12: cannot open shared object file')", "a package of guardeval[hf]"),
        ("from json import no_such_name", "the package 'json'"),
    ],
)
def test_a_package_that_is_there_and_broken_is_not_called_missing(tmp_path, monkeypatch, body, said):
    (tmp_path / "broken_extra.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError) as caught, needs_extra("hf"):
        import broken_extra  # noqa: F401
    assert str(caught.value).startswith(f"this needs {said}, which is installed and does not import: ")
    assert "not installed" not in str(caught.value)
