"""What the account's total says of strategies' shares: splits, sales elsewhere, and nobody's shares."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torghut_core.trading.money.attribution import Settled, corrections, kept_of, split_ratio


def _at(qty: int | str, price: int | str, after: int = 7) -> Settled:
    return Settled(qty=Decimal(qty), entry_price=Decimal(price), after=after)


@pytest.mark.parametrize(
    ("before", "now", "ratio"),
    [
        (_at(10, 100), _at(40, 25), "4"),
        (_at(-10, 100), _at(-40, 25), "4"),
        (_at(30, 100), _at(45, "66.6667"), "1.5"),
        (_at(100, 1), _at(10, 10), "0.1"),
        (_at(25, 1), _at(2, 10), "0.1"),
        (_at(10, 100), _at(40, 100), None),
        (_at(10, 100), _at(20, 90), None),
        (_at(10, 100), _at(4, 100), None),
        (_at(10, 100), _at(10, 25), None),
        (_at(10, 100), _at(-40, 25), None),
        (_at(10, 100), _at(0, 0), None),
    ],
)
def test_split_ratio_when_shares_and_price_move_then_only_a_split_is_one(
    before: Settled, now: Settled, ratio: str | None
) -> None:
    """The cost stays: four for one, three for two, one for ten with a rest in cash; a purchase or a sale is none."""
    found = split_ratio(before, now)
    assert (None if found is None else round(found, 4)) == (None if ratio is None else Decimal(ratio))


@pytest.mark.parametrize(
    ("owned", "now", "before", "found"),
    [
        ({"a": 10, "b": 10}, _at(20, 100), None, {}),
        ({"a": 10, "b": 10}, _at(25, 100), None, {}),
        ({"a": 10, "b": 10}, _at(10, 100), None, {"a": ("handed_over", 5), "b": ("handed_over", 5)}),
        ({"a": 10, "b": 5}, _at(0, 0), None, {"a": ("handed_over", 10), "b": ("handed_over", 5)}),
        ({"a": 10, "b": -5}, _at(5, 100), None, {"a": ("handed_over", 5), "b": ("handed_over", -5)}),
        ({"a": -10}, _at(-4, 100), None, {"a": ("handed_over", -6)}),
        ({"a": 3, "b": 3}, _at(5, 100), None, {"b": ("handed_over", 1)}),
        ({"a": 10, "b": 10}, _at(80, 25), _at(20, 100), {"a": ("split", 30), "b": ("split", 30)}),
        ({"a": 10}, _at(80, 25), _at(20, 100), {"a": ("split", 30)}),
        ({"a": 15, "b": 10}, _at(2, 10), _at(25, 1), {"a": ("split", -14), "b": ("split", -9)}),
        ({"a": 10, "b": 10}, _at(80, 25, after=8), _at(20, 100), {}),
    ],
)
def test_corrections_when_the_account_says_otherwise_then_each_owner_its_part(
    owned: dict[str, int], now: Settled, before: Settled | None, found: dict[str, tuple[str, int]]
) -> None:
    """A split is each owner's, a sale elsewhere is taken from all; more than is owned is nobody's and needs none."""
    claims = {name: Decimal(qty) for name, qty in owned.items()}
    told = corrections("AAPL", claims, now, before, at_ns=1)
    assert {item.strategy: (item.kind, item.qty) for item in told} == found


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(-50, 50).map(Decimal), max_size=4),
    st.integers(-80, 80).map(Decimal),
)
def test_kept_when_claims_meet_what_is_held_then_never_more_than_either(
    claims: dict[str, Decimal], held: Decimal
) -> None:
    """Nobody gains, whole shares stay whole, and no share that was claimed is left without its owner."""
    kept = kept_of(claims, held)
    sign = 1 if held > 0 else -1
    alike = {name: qty for name, qty in claims.items() if qty * held > 0}
    assert all(0 <= sign * kept[name] <= sign * alike.get(name, Decimal(0)) for name in claims)
    assert sum(kept.values(), Decimal(0)) == sign * min(abs(held), abs(sum(alike.values(), Decimal(0))))
    assert all(qty == qty.to_integral_value() for qty in kept.values())


def test_kept_when_parts_of_shares_are_held_then_divided_as_such() -> None:
    """Where the account holds parts of a share they may be owned."""
    kept = kept_of({"a": Decimal(1), "b": Decimal(1)}, Decimal("1.5"))
    assert kept == {"a": Decimal("0.75"), "b": Decimal("0.75")}
