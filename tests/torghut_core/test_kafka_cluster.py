"""What a cluster's client raises and logs, in this project's words."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from aiokafka import errors

from torghut_core.engines.kafka import KafkaAddress, KafkaUnavailableError, TransactionFencedError
from torghut_core.engines.kafka_cluster import ClusterKafka, translate
from torghut_core.engines.kafka_transactions import EarlyTransaction
from torghut_core.errors import EngineUnavailableError


def _wrapped(cause: BaseException) -> BaseException:
    """Return what the client's sender ends with when it meets `cause`."""
    error = errors.KafkaError("Unexpected error during batch delivery")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason", "name"),
    [
        (_wrapped(errors.UnknownError()), "kafka_produce", "UnknownError"),
        (_wrapped(errors.TopicAuthorizationFailedError()), "kafka_auth", "TopicAuthorizationFailedError"),
        (_wrapped(errors.RequestTimedOutError()), "kafka_metadata", "RequestTimedOutError"),
        (errors.KafkaError(), "kafka_produce", "KafkaError"),
    ],
)
def test_error_when_the_client_wraps_it_then_its_own_name_and_reason_are_told(
    error: BaseException, reason: str, name: str
) -> None:
    """A broker that answers a commit with what nobody expects is told as that, not as an error without a name."""
    told = translate(error, "append")
    assert isinstance(told, KafkaUnavailableError)
    assert (told.reason, name in str(told)) == (reason, True)


@pytest.mark.parametrize("error", [errors.ProducerFenced(), _wrapped(errors.InvalidProducerEpoch())])
def test_error_when_the_producer_is_fenced_then_it_is_told_as_that(error: BaseException) -> None:
    """Wrapped or not: the group says whose the partitions are now."""
    assert isinstance(translate(error, "append"), TransactionFencedError)


def test_log_when_the_clients_own_futures_are_never_asked_then_no_line_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever sent has had the failure; what other futures hold stays to be seen."""
    ClusterKafka(KafkaAddress(bootstrap="127.0.0.1:1", client_id="test"))
    loop = logging.getLogger("asyncio")
    said = "Future exception was never retrieved\nfuture: <Future finished>"
    for error in (errors.ProducerFenced(), ValueError("ours")):
        loop.error(said, exc_info=(type(error), error, None))
    loop.error("Task was destroyed but it is pending!")
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [ValueError, None]


def test_transaction_when_the_client_is_another_then_it_is_refused_by_name() -> None:
    """A later aiokafka that keeps its transactions elsewhere is not guessed at."""
    with pytest.raises(EngineUnavailableError, match="aiokafka has no maybe_add_partition_to_txn") as raised:
        EarlyTransaction(SimpleNamespace())
    assert raised.value.hint == "install the version that constraints.txt names"


async def test_transaction_when_the_last_held_offsets_alone_then_one_begun_ahead_knows_its_partitions_still() -> None:
    """A checkpoint's commit has no records: the second after it is begun ahead as any other."""
    begun: list[str] = []

    async def begin() -> None:
        begun.append("begun")

    async def commit() -> None:
        begun.append("offsets")

    manager = SimpleNamespace(
        txn_partitions={"signals-0"},
        maybe_add_partition_to_txn=begun.append,
        is_fatal_error=lambda: False,
        wait_for_transaction_end=None,
    )
    early = EarlyTransaction(SimpleNamespace(_txn_manager=manager, begin_transaction=begin))
    early.remember()
    manager.txn_partitions = set()
    early.remember()
    early.begin(commit)
    assert await early.take()
    assert begun == ["begun", "signals-0", "offsets"]
