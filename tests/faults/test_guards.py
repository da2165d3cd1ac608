"""The list of guards keeps up with the source, so that they can be taken away at any time.

That a test notices each removal is shown by `python -m tests.faults.guards`, which takes minutes.
"""

import shutil
from pathlib import Path

import pytest

from faults.guards import ROOT, Guard, read_guards, weakened

GUARDS = read_guards()


@pytest.mark.parametrize("guard", GUARDS, ids=lambda one: one.name)
def test_it_stands_where_the_list_says(guard: Guard, tmp_path: Path) -> None:
    """Its piece of source is there once, the rest is sound without it, its tests exist."""
    path = Path("tradewind") / guard.file
    (tmp_path / path.parent).mkdir(parents=True)
    shutil.copy(ROOT / "src" / path, tmp_path / path)
    weakened(guard, tmp_path)
    if path.suffix == ".py":
        compile((tmp_path / path).read_text(), str(path), "exec")
    for test in guard.tests:
        file, _, function = test.partition("[")[0].partition("::")
        assert f"def {function}(" in (ROOT / file).read_text()


def test_names_are_distinct() -> None:
    """Each can be asked for by its name."""
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)
