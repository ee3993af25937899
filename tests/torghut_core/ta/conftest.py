"""What the tests of the TA share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from torghut_core.engines.clickhouse import Address, ClickHouse, open_clickhouse


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """One embedded engine for a module; a process holds one at a time."""
    opened = open_clickhouse(Address(url=f"embedded:{tmp_path_factory.mktemp('clickhouse')}"))
    yield opened
    opened.close()
