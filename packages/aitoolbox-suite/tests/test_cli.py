"""The command ``aitoolbox``."""

from importlib.metadata import EntryPoint, EntryPoints, PackageNotFoundError, version

import pytest

from aitoolbox import cli


def test_versions_lists_packages_and_what_they_register(capsys):
    assert cli.main(["versions"]) == 0
    out = capsys.readouterr().out
    assert f"  tt-loop          {version('tt-loop')}\n" in out
    assert "gpu_mode (tt_loop.strategies)" in out
    assert f"tt-parallel {version('tt-parallel')}, tt_parallel." in out
    assert "  ddp " in out
    assert "  amp " in out
    assert "  s3 " in out


def test_a_missing_package_is_shown_and_is_an_error(capsys, monkeypatch):
    def without_nlp(name):
        if name == "tt-nlp":
            raise PackageNotFoundError(name)
        return "0.1.0"

    monkeypatch.setattr(cli, "version", without_nlp)
    assert cli.main(["versions"]) == 1
    assert "  tt-nlp           not installed\n" in capsys.readouterr().out


def test_registrations_are_listed_without_loading_them(capsys, monkeypatch):
    broken = EntryPoint("tpu", "no_such_module:strategy", "tt_loop.strategies")
    registered = {"tt_loop.strategies": EntryPoints([broken])}
    monkeypatch.setattr(cli, "entry_points", lambda group: registered.get(group, EntryPoints()))
    assert cli.main(["versions"]) == 0
    out = capsys.readouterr().out
    assert "  tpu  unknown provider, no_such_module:strategy\n" in out
    assert "use_amp (tt_loop.precisions)\n  none\n" in out


@pytest.mark.parametrize("arguments", [[], ["no-such-command"]])
def test_a_wrong_command_line_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert "usage: aitoolbox" in capsys.readouterr().err
