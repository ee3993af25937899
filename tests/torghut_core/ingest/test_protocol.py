"""Alpaca's protocol without a socket: what an error means, and what is asked next."""

from __future__ import annotations

import pytest

from torghut_core.ingest.protocol import (
    CHANNELS,
    Effect,
    ErrorClass,
    SubscriptionRequest,
    Wire,
    frame_policy,
    upgrade_policy,
)
from torghut_core.ingest.subscriptions import Subscriptions


@pytest.mark.parametrize(
    ("code", "text", "error_class", "effect"),
    [
        (400, "invalid syntax", "alpaca_config", "request"),
        (401, "not authenticated", "alpaca_auth", "end_slowly"),
        (402, "auth failed", "alpaca_auth", "end_slowly"),
        (403, "already authenticated", "unknown", "none"),
        (404, "auth timeout", "alpaca_auth", "end_slowly"),
        (405, "symbol limit exceeded", "alpaca_symbol_limit", "request"),
        (406, "connection limit exceeded", "alpaca_406_second_connection", "end_slowly"),
        (407, "slow client", "alpaca_slow_client", "end"),
        (409, "insufficient subscription", "alpaca_config", "end_slowly"),
        (410, "invalid subscribe action for this feed", "alpaca_config", "request"),
        (500, "internal error", "unknown", "end"),
        (599, "no such code", "unknown", "end"),
        (None, "connection limit exceeded", "alpaca_406_second_connection", "end_slowly"),
        (None, "Unauthorized", "alpaca_auth", "end_slowly"),
    ],
)
def test_error_frame_when_code_is_known_then_class_and_consequence(
    code: int | None, text: str, error_class: str, effect: str
) -> None:
    """402 is an authentication failure, 403 is none, 405 keeps the session."""
    policy = frame_policy(code, text)
    assert (policy.error_class, policy.effect) == (ErrorClass(error_class), Effect(effect))


@pytest.mark.parametrize(
    ("status", "error_class", "effect"),
    [
        (401, "alpaca_auth", "end_slowly"),
        (403, "alpaca_auth", "end_slowly"),
        (404, "alpaca_config", "end_slowly"),
        (406, "alpaca_406_second_connection", "end_slowly"),
        (429, "alpaca_406_second_connection", "end_slowly"),
        (500, "unknown", "end"),
        (503, "unknown", "end"),
    ],
)
def test_upgrade_when_refused_then_the_status_is_not_read_as_a_frames_code(
    status: int, error_class: str, effect: str
) -> None:
    """404 in place of an upgrade is a wrong address, not a late authentication."""
    policy = upgrade_policy(status)
    assert (policy.error_class, policy.effect) == (ErrorClass(error_class), Effect(effect))


def _acknowledge(subscriptions: Subscriptions, request: SubscriptionRequest) -> None:
    """Answer as Alpaca does: with everything that is subscribed now."""
    for channel in request.channels:
        before = subscriptions.acknowledged.get(channel, frozenset())
        change = frozenset(request.symbols)
        subscriptions.acknowledged[channel] = before | change if request.action == "subscribe" else before - change
    subscriptions.acknowledge({channel: sorted(names) for channel, names in subscriptions.acknowledged.items()})


def _converse(subscriptions: Subscriptions, limit: int | None = None, bad: frozenset[str] = frozenset()) -> list[str]:
    """Answer every request; a batch over the limit, or with a bad symbol, is refused whole."""
    said = []
    for _ in range(200):
        request = subscriptions.next_request()
        if request is None:
            return said
        held = subscriptions.acknowledged.get("trades", frozenset()) | set(request.symbols)
        if request.action == "subscribe" and limit is not None and 2 * len(held) > limit:
            said.append(f"405 {'+'.join(request.symbols)}")
            subscriptions.refuse(405)
        elif request.action == "subscribe" and bad & set(request.symbols):
            said.append(f"400 {'+'.join(request.symbols)}")
            subscriptions.refuse(400)
        else:
            said.append(f"{request.action} {'+'.join(request.symbols)}")
            _acknowledge(subscriptions, request)
    raise AssertionError("asked without end")


def test_subscription_when_the_limit_is_passed_then_what_fits_is_kept_and_the_rest_is_named() -> None:
    """Three symbols, a limit of four: two are subscribed, one is left out, and nobody asks for ever."""
    subscriptions = Subscriptions(batch_size=200)
    subscriptions.want(frozenset("ABC"))
    _converse(subscriptions, limit=4)
    assert (sorted(subscriptions.acknowledged["trades"]), subscriptions.left_out) == (["A", "B"], ["C"])
    assert subscriptions.is_settled
    assert subscriptions.problem == (ErrorClass.SYMBOL_LIMIT, "405: no subscription left for C")
    assert subscriptions.next_request() is None


def test_subscription_when_the_limit_is_passed_by_far_then_single_refusals_end_at_the_first() -> None:
    """Once one symbol alone was refused for the limit, no other is tried in vain."""
    subscriptions = Subscriptions(batch_size=200)
    subscriptions.want(frozenset(f"S{number:03d}" for number in range(100)))
    said = _converse(subscriptions, limit=6)
    assert sorted(subscriptions.acknowledged["trades"]) == ["S000", "S001", "S002"]
    assert len(subscriptions.left_out) == 97
    assert len(said) < 20


def test_subscription_when_a_symbol_is_bad_then_it_alone_is_left_out_and_named() -> None:
    """One bad symbol of a batch costs itself alone, and it is a matter of configuration."""
    subscriptions = Subscriptions(batch_size=200)
    subscriptions.want(frozenset(["A", "B", "C", "D", "BAD"]))
    _converse(subscriptions, bad=frozenset(["BAD"]))
    assert sorted(subscriptions.acknowledged["quotes"]) == ["A", "B", "C", "D"]
    assert subscriptions.problem == (ErrorClass.CONFIG, "400: Alpaca refuses the symbols BAD")


def test_subscription_when_a_channel_is_refused_then_the_others_stay() -> None:
    """410 does not say which channel: each is asked for alone. Halts are optional, bars are not."""
    for channel, problem in (("statuses", None), ("bars", (ErrorClass.CONFIG, "410: the feed has no channel bars"))):
        subscriptions = Subscriptions(batch_size=200)
        subscriptions.want(frozenset("AB"))
        while (request := subscriptions.next_request()) is not None:
            if channel in request.channels:
                subscriptions.refuse(410)
            else:
                _acknowledge(subscriptions, request)
        assert (subscriptions.is_settled, subscriptions.problem) == (True, problem)
        assert set(subscriptions.acknowledged) == set(CHANNELS) - {channel}


def test_subscription_when_what_was_refused_is_asked_again_then_it_counts_as_refused_until_it_is_taken() -> None:
    """A symbol that is listed a minute later is forwarded without a restart; the limit is tried anew too."""
    subscriptions = Subscriptions(batch_size=200)
    subscriptions.want(frozenset(["A", "BAD", "C"]))
    _converse(subscriptions, bad=frozenset(["BAD"]))
    subscriptions.ask_again()
    assert subscriptions.problem == (ErrorClass.CONFIG, "400: Alpaca refuses the symbols BAD")
    assert _converse(subscriptions, bad=frozenset(["BAD"])) == ["400 BAD"]
    subscriptions.ask_again()
    assert _converse(subscriptions) == ["subscribe BAD"]
    assert (subscriptions.problem, subscriptions.has_refused) == (None, False)

    subscriptions.want(frozenset(["A", "BAD", "C", "D"]))
    _converse(subscriptions, limit=6)
    assert subscriptions.left_out == ["D"]
    subscriptions.ask_again()
    assert _converse(subscriptions, limit=8) == ["subscribe D"]
    assert subscriptions.left_out == []


def test_subscription_when_a_refused_channel_is_served_again_then_it_is_subscribed() -> None:
    """410 may pass as well: bars come back without a restart."""
    subscriptions = Subscriptions(batch_size=1)
    subscriptions.want(frozenset("AB"))
    while (request := subscriptions.next_request()) is not None:
        if "bars" in request.channels:
            subscriptions.refuse(410)
        else:
            _acknowledge(subscriptions, request)
    subscriptions.ask_again()
    assert _converse(subscriptions) == ["subscribe A", "subscribe B"]
    assert (subscriptions.problem, subscriptions.is_settled) == (None, True)
    assert subscriptions.acknowledged["bars"] == {"A", "B"}


def test_subscription_when_the_universe_changes_then_unsubscribed_first() -> None:
    """A plan with room for two never sees three."""
    subscriptions = Subscriptions(batch_size=200)
    subscriptions.want(frozenset("AB"))
    _converse(subscriptions, limit=4)
    subscriptions.want(frozenset("BC"))
    assert _converse(subscriptions, limit=4) == ["unsubscribe A", "subscribe C"]


def test_subscription_when_a_local_budget_is_set_then_no_more_is_asked_for() -> None:
    """Thirty subscriptions are fifteen symbols, trades and quotes each; the rest is named, not asked for."""
    subscriptions = Subscriptions(batch_size=10, max_subscriptions=30)
    subscriptions.want(frozenset(f"S{number:02d}" for number in range(20)))
    said = _converse(subscriptions, limit=30)
    assert said == [
        "subscribe " + "+".join(f"S{number:02d}" for number in range(10)),
        "subscribe " + "+".join(f"S{number:02d}" for number in range(10, 15)),
    ]
    assert subscriptions.left_out == [f"S{number:02d}" for number in range(15, 20)]


def test_subscription_when_an_acknowledgement_lacks_a_symbol_then_it_is_asked_for_again() -> None:
    """Ready means every symbol on every channel, not an answer."""
    subscriptions = Subscriptions(batch_size=200)
    subscriptions.want(frozenset("AB"))
    subscriptions.next_request()
    subscriptions.acknowledge({channel: ["A", "B"] for channel in CHANNELS if channel != "quotes"} | {"quotes": ["A"]})
    assert (subscriptions.is_settled, subscriptions.missing) == (False, {"B"})
    request = subscriptions.next_request()
    assert request is not None
    assert request.symbols == ("B",)


def test_wire_when_msgpack_then_binary_and_announced() -> None:
    """The header decides what Alpaca sends."""
    assert Wire("msgpack").headers == {"Content-Type": "application/msgpack"}
    assert Wire("msgpack").encode({"a": 1}) == b"\x81\xa1a\x01"
    assert (Wire("json").headers, Wire("json").encode({"a": 1})) == ({}, '{"a":1}')
