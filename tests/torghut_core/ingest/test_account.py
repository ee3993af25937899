"""What is missing of the trades, by symbol: where a gap begins, and when it is no gap any more."""

from __future__ import annotations

from torghut_core.ingest.account import Account


def _account(**acked: int) -> Account:
    return Account(names=["A", "B"], keeps_trades=True, acked_trade=dict(acked))


def test_gap_when_it_is_filled_while_nothing_comes_yet_then_it_is_filled_again() -> None:
    """A fill that was under way met the next outage: what it asked for ended in the middle, and the rest was lost."""
    account = _account(A=100, B=90)
    account.lost_connection(70)
    assert account.take_gaps("trades") == {"A": 100, "B": 90}
    account.acked_trade["A"] = 150  # what the fill brought; more goes missing until the connection is there again
    account.found_connection()
    assert account.take_gaps("trades") == {"A": 100, "B": 90}
    assert account.take_gaps("trades") == {}


def test_gap_when_a_symbol_had_no_trade_before_then_those_since_the_stream_was_lost_may_be_missing() -> None:
    """Its first trade may have come during the outage."""
    account = _account(A=100)
    account.lost_connection(70)
    account.found_connection()
    assert account.take_gaps("trades") == {"A": 100, "B": 70}


def test_gap_when_it_is_only_noted_then_it_ends_with_the_first_filling() -> None:
    """After a subscription that was made anew the stream goes on."""
    account = _account(A=100)
    account.note_gap(70)
    assert (account.take_gaps("trades"), account.take_gaps("trades")) == ({"A": 100, "B": 70}, {})


def test_gap_when_it_could_not_be_filled_then_it_begins_where_it_did() -> None:
    """The earlier of what is given back and what was noted since."""
    account = _account(A=100)
    account.note_gap(70)
    taken = account.take_gaps("trades")
    account.acked_trade["A"] = 200
    account.note_gap(70)
    account.give_back("trades", taken)
    assert account.take_gaps("trades") == {"A": 100, "B": 70}
