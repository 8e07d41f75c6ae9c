"""The whole suite in one install, under AIToolbox's import paths.

`tt_loop`, `tt_parallel`, `tt_experiment`, `tt_cloud`, `tt_metrics` and `tt_nlp` hold the code. The
modules below `aitoolbox` give their names where scripts written for AIToolbox look for them, and
nothing is imported before one of them is.
"""

from importlib.metadata import PackageNotFoundError, distribution


def _refuse_the_original() -> None:
    """Both distributions install the folder ``aitoolbox``: each overwrites files of the other."""
    try:
        version = distribution("aitoolbox").version
    except PackageNotFoundError:
        return
    msg = (
        f"aitoolbox-suite cannot run beside the distribution aitoolbox, and {version} of it is "
        "installed: both own the import name `aitoolbox`. Keep one: pip uninstall aitoolbox, "
        "then pip install --force-reinstall --no-deps aitoolbox-suite"
    )
    raise ImportError(msg)


_refuse_the_original()
