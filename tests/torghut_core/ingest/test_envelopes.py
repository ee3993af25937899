"""Duplicates, sequence numbers and bad messages."""

from __future__ import annotations

from typing import Any

from torghut_core import topics
from torghut_core.envelope import decode
from torghut_core.ingest.envelopes import Converter, Dedup, Sequences

TOPICS = {
    "trades": topics.TRADES.name,
    "quotes": topics.QUOTES.name,
    "bars": topics.BARS_1M.name,
    "updatedBars": topics.BARS_1M.name,
    "status": topics.STATUS.name,
}


def _converter(now: list[float] | None = None) -> Converter:
    clock = now or [0.0]
    return Converter(
        feed="iex", topics=TOPICS, dedup=Dedup(5, 1000, lambda: clock[0]), sequences=Sequences(1_000_000, 0)
    )


def _trade(**changes: Any) -> dict[str, Any]:
    return {"T": "t", "S": "AAPL", "i": 1, "x": "V", "p": 1.5, "s": 0.25, "t": "2026-01-05T14:30:00.1Z", **changes}


def test_trade_when_converted_then_envelope_keeps_short_keys_and_fractions() -> None:
    """The payload is Alpaca's message without its type."""
    ((topic, (keys, values)),) = _converter().convert({"trades": [_trade()]}, 7).items()
    envelope = decode(values[0])
    assert (topic, keys) == ("torghut.trades.v1", [b"AAPL"])
    assert (envelope.event_ts, envelope.seq, envelope.is_final, envelope.source) == (
        "2026-01-05T14:30:00.1Z",
        1_000_000,
        True,
        "ws",
    )
    assert envelope.payload == {k: v for k, v in _trade().items() if k != "T"}


def test_trade_when_repeated_within_ttl_then_dropped_and_counted() -> None:
    """A repeat does not renew: after the time to live the same message passes again."""
    now = [0.0]
    converter = _converter(now)
    assert converter.convert({"trades": [_trade()]}, 7)
    now[0] = 4.0
    assert converter.convert({"trades": [_trade()]}, 7) == {}
    now[0] = 5.0
    assert converter.convert({"trades": [_trade()]}, 7)
    assert converter.repeats == {"trades": 1}


def test_quotes_when_same_time_but_other_prices_then_both_pass() -> None:
    """Distinct quotes of one instant are not duplicates."""
    quote = {"S": "A", "t": "2026-01-05T14:30:00Z", "bp": 1, "bs": 1, "ap": 2, "as": 1}
    converted = _converter().convert({"quotes": [{"T": "q", **quote}, {"T": "q", **quote, "ap": 3}]}, 7)
    assert len(converted["torghut.quotes.v1"][1]) == 2


def test_bars_when_corrected_twice_within_ttl_then_every_revision_passes() -> None:
    """A correction is a revision, never a duplicate of the bar or of another correction."""
    bar = {"S": "A", "t": "2026-01-05T14:30:00Z", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "n": 1, "vw": 1}
    data = {"bars": [{"T": "b", **bar}], "updatedBars": [{"T": "u", **bar, "v": 2}, {"T": "u", **bar, "v": 3}]}
    values = _converter().convert(data, 7)["torghut.bars.1m.v1"][1]
    assert [decode(value).is_final for value in values] == [True, False, False]


def test_messages_when_bad_then_counted_by_reason_and_the_rest_passes() -> None:
    """Isolation per message."""
    converter = _converter()
    bad = [_trade(S=None), _trade(S="A" * 10_000), _trade(t=5), _trade(t="yesterday"), _trade(i=[1])]
    converted = converter.convert({"trades": [*bad, _trade(t="2026-01-05T09:30:00-05:00")]}, 7)
    assert [decode(value).event_ts for value in converted["torghut.trades.v1"][1]] == ["2026-01-05T14:30:00Z"]
    assert converter.dropped == {"bad_symbol": 2, "bad_time": 2, "bad_field": 1}


def test_sequences_when_clock_was_set_back_then_they_go_on_above_the_floor() -> None:
    """Strictly rising per symbol and channel, across restarts too."""
    sequences = Sequences(started_us=1000, floor=5000)
    assert [sequences.next("trades", "A"), sequences.next("trades", "A"), sequences.next("quotes", "A")] == [
        5000,
        5001,
        5000,
    ]


def test_dedup_when_full_or_old_then_forgets() -> None:
    """Memory is bounded by count and by age."""
    now = [0.0]
    dedup = Dedup(5, 3, lambda: now[0])
    for key in range(10):
        dedup.is_repeat(key)
    assert len(dedup) == 3
    now[0] = 10.0
    dedup.is_repeat("new")
    assert len(dedup) == 1
