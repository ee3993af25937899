"""Alpaca's protocol without a socket."""

from __future__ import annotations

import json

import pytest

from torghut_core.ingest.protocol import (
    ErrorClass,
    Subscriptions,
    classify,
    decode_frame,
    ends_session,
    subscription_messages,
)


@pytest.mark.parametrize(
    ("code", "text", "expected", "ends"),
    [
        (400, "invalid syntax", ErrorClass.UNKNOWN, False),
        (401, "not authenticated", ErrorClass.AUTH, True),
        (402, "auth failed", ErrorClass.AUTH, True),
        (403, "already authenticated", ErrorClass.UNKNOWN, False),
        (404, "auth timeout", ErrorClass.AUTH, True),
        (405, "symbol limit exceeded", ErrorClass.UNKNOWN, False),
        (406, "connection limit exceeded", ErrorClass.SECOND_CONNECTION, True),
        (407, "slow client", ErrorClass.UNKNOWN, True),
        (409, "insufficient subscription", ErrorClass.UNKNOWN, True),
        (500, "internal error", ErrorClass.UNKNOWN, True),
        (None, "connection limit exceeded", ErrorClass.SECOND_CONNECTION, True),
        (None, "Unauthorized", ErrorClass.AUTH, True),
    ],
)
def test_error_when_code_is_known_then_class_and_consequence(
    code: int | None, text: str, expected: ErrorClass, ends: bool
) -> None:
    """402 is an authentication failure, 403 is not one, and 405 keeps the session."""
    assert (classify(code, text), ends_session(code)) == (expected, ends)


def test_frame_when_elements_are_bad_then_the_good_ones_pass() -> None:
    """One bad element costs itself alone."""
    frame = decode_frame(json.dumps([{"T": "t", "S": "A"}, 7, None, {"T": "zz"}, {"S": "B"}, {"T": "success"}]))
    assert frame.data == {"trades": [{"T": "t", "S": "A"}]}
    assert frame.control == [{"T": "success"}]
    assert frame.dropped == {"not_an_object": 3, "unknown_type": 1}


@pytest.mark.parametrize("frame", [b"", b"{", b"[1,", b"\xff\xfe", "nonsense", pytest.param(b"[" * 100_000, id="deep")])
def test_frame_when_undecodable_then_counted(frame: str | bytes) -> None:
    """Garbage never ends a session."""
    assert decode_frame(frame).dropped == {"undecodable_frame": 1}


def test_subscriptions_when_a_channel_lacks_a_symbol_then_not_complete() -> None:
    """Ready means every wanted symbol on every channel."""
    subscriptions = Subscriptions(wanted=frozenset(["A", "B"]))
    subscriptions.acknowledge({"T": "subscription", "trades": ["A", "B"], "quotes": ["A", "B"], "bars": ["A", "B"]})
    assert (subscriptions.is_complete, subscriptions.missing) == (False, {"A", "B"})
    subscriptions.acknowledge({"T": "subscription", "updatedBars": ["A"]})
    assert subscriptions.missing == {"B"}
    subscriptions.acknowledge({"T": "subscription", "updatedBars": ["A", "B"]})
    assert subscriptions.is_complete
    assert not Subscriptions().is_complete


def test_subscription_when_symbols_exceed_the_batch_then_split_over_all_channels() -> None:
    """Each request names the same symbols under every channel."""
    messages = [json.loads(text) for text in subscription_messages("subscribe", ["C", "A", "B"], 2)]
    assert [message["trades"] for message in messages] == [["A", "B"], ["C"]]
    assert all(message[channel] == message["trades"] for message in messages for channel in ("quotes", "updatedBars"))
