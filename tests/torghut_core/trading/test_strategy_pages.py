"""The pages of the strategies say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from torghut_core.trading.strategies.catalogue import catalogue_path, read_catalogue
from torghut_core.trading.strategies.conditions import KNOWN
from torghut_core.trading.strategies.shipped import SHIPPED

PAGES = Path(__file__).resolve().parents[3] / "docs" / "strategies"


@pytest.mark.parametrize("name", SHIPPED.names)
def test_page_when_a_rule_ships_then_its_parameters_and_defaults_stand_there(name: str) -> None:
    """Each parameter with its default and its unit."""
    definition = SHIPPED.get(name)
    assert definition is not None
    text = (PAGES / f"{name}.md").read_text()
    for parameter in definition.parameters:
        assert re.search(rf"\| `{parameter.name}` \| {parameter.default:g} \|.*\| {parameter.unit} \|", text)


def test_page_when_a_catalogue_ships_then_it_stands_there_word_for_word() -> None:
    """What the page shows is what is traded."""
    path = catalogue_path("shipped:bollinger-reversion")
    shown = (PAGES / "bollinger-reversion.md").read_text().split("```yaml\n")[1].split("```")[0]
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("#")]
    assert shown == "".join(lines)


@pytest.mark.parametrize("page", ["conditions", "macd-rsi", "bollinger-reversion"])
def test_page_when_it_shows_a_catalogue_then_it_can_be_read(page: str, tmp_path: Path) -> None:
    """An example that is copied works."""
    path = tmp_path / "strategies.yaml"
    path.write_text((PAGES / f"{page}.md").read_text().split("```yaml\n")[1].split("```")[0])
    assert len(read_catalogue(path)) == 1


def test_page_when_columns_are_listed_then_all_of_them() -> None:
    """The language's columns stand on its page."""
    text = (PAGES / "conditions.md").read_text()
    assert [name for name in KNOWN if f"`{name}`" not in text] == []
