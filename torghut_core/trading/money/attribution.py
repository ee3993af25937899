"""What the account's total says of the shares that strategies think are theirs.

Order events say what a strategy bought and sold. What the account holds can change without them: a person sells, a broker
splits. A split, told from the average price falling as the shares rose, is each owner's in its share; what was sold
elsewhere is taken from the owners in theirs. What is held beyond all of theirs is nobody's, and needs no correction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from torghut_core.trading.money.events import Correction

ZERO = Decimal(0)
_ONE = Decimal(1)
_PART = Decimal("0.000000001")
_LEAST_SPLIT = Decimal("0.01")
"""A change of the average price below this share is no split."""
_SLACK = Decimal("0.001")
"""Average prices are rounded."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What the account held of a symbol when nothing was on its way: signed shares, average price, dollars a share.

    `after` is the place of the newest own event of the symbol that was heard by then.
    """

    qty: Decimal
    entry_price: Decimal
    after: int = 0


def corrections(
    symbol: str, owned: Mapping[str, Decimal], now: Settled, before: Settled | None, *, at_ns: int
) -> tuple[Correction, ...]:
    """Return what must be corrected of the strategies' shares, given by strategy, so that they are among those held.

    `before` is the reading before; without a trade of ours in between it tells a split from a purchase or a sale.
    """
    claims = {strategy: qty for strategy, qty in sorted(owned.items()) if qty}
    if not claims:
        return ()
    ratio = None if before is None or before.after != now.after else split_ratio(before, now)
    kept = kept_of({name: qty * (ratio or _ONE) for name, qty in claims.items()}, now.qty)
    return tuple(
        Correction(
            at_ns=at_ns,
            strategy=strategy,
            symbol=symbol,
            kind="handed_over" if ratio is None else "split",
            qty=qty - kept[strategy] if ratio is None else kept[strategy] - qty,
        )
        for strategy, qty in claims.items()
        if kept[strategy] != qty
    )


def split_ratio(before: Settled, now: Settled) -> Decimal | None:
    """Return how many shares one has become, None where what changed is no split.

    In a split the cost stays: the shares rise as the average price falls. A part of a share may be paid out in cash.
    """
    if before.qty * now.qty <= 0 or before.entry_price <= 0 or now.entry_price <= 0 or before.qty == now.qty:
        return None
    by_price = before.entry_price / now.entry_price
    if abs(by_price - 1) < _LEAST_SPLIT:
        return None
    expected, found = abs(before.qty) * by_price, abs(now.qty)
    slack = expected * _SLACK
    if abs(found - expected) <= slack:
        return found / abs(before.qty)
    is_cut = found == found.to_integral_value() and expected - 1 - slack < found < expected
    return by_price if is_cut else None


def kept_of(claims: Mapping[str, Decimal], held: Decimal) -> dict[str, Decimal]:
    """Return what each owner keeps of `held` signed shares: all, or its share where they claim more than there is.

    Whole shares where `held` is whole, the largest remainders first. A claim on the other side keeps nothing.
    """
    alike = {name: abs(qty) if qty * held > 0 else ZERO for name, qty in claims.items()}
    total = sum(alike.values(), ZERO)
    unit = _ONE if held == held.to_integral_value() else _PART
    room = min(abs(held), (total / unit).to_integral_value(ROUND_FLOOR) * unit)
    if total == 0:
        return dict.fromkeys(claims, ZERO)
    if room == total:
        shares = alike
    else:
        exact = {name: qty * room / total for name, qty in alike.items()}
        shares = {name: (qty / unit).to_integral_value(ROUND_FLOOR) * unit for name, qty in exact.items()}
        left = int(((room - sum(shares.values(), ZERO)) / unit).to_integral_value())
        for name in sorted(exact, key=lambda item: (shares[item] - exact[item], item))[:left]:
            shares[name] += unit
    return {name: qty if held > 0 else -qty for name, qty in shares.items()}
