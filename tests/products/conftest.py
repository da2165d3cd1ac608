"""Fixtures of the tests of products."""

from pathlib import Path

import pytest

from conftest import Shop
from products.importing import Importer


@pytest.fixture
def importer(store: Shop, tmp_path: Path) -> Importer:
    """Imports into the common store."""
    return Importer(store, tmp_path)
