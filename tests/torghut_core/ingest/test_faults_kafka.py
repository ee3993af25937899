"""The forwarder against Apache Kafka: killed, frozen, too small, without its topic or its rights; it recovers by itself.

After each fault every trade that the socket brought is in the topic, none twice, and numbers rise strictly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from pydantic import SecretStr

from tests.fakes import apache_kafka
from tests.fakes.apache_kafka import Broker
from tests.fakes.forwarding import (
    MARKET,
    assert_complete,
    environment,
    forwarding,
    read_topic,
    ready,
    unready,
    until,
)
from torghut_core import topics
from torghut_core.engines.kafka import Kafka, KafkaAddress, Security
from torghut_core.engines.kafka_opening import open_kafka
from torghut_core.simulator import process as simulator

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.xdist_group("apache-kafka"),
    pytest.mark.timeout(300),
]
ADMIN, USER = "admin-password", "ws-password"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for the module."""
    with apache_kafka.running(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with SCRAM and rights: `admin` may do everything, `ws` what it is granted."""
    login = 'org.apache.kafka.common.security.scram.ScramLoginModule required username=admin password="admin-password";'
    running = Broker(
        tmp_path_factory.mktemp("guarded"),
        {
            "listener.security.protocol.map": "PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.plaintext.scram-sha-512.sasl.jaas.config": login,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:admin;User:ANONYMOUS",
        },
        scram={"admin": ADMIN, "ws": USER},
    )
    running.start()
    yield running
    running.stop(kill=True)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[simulator.SimulatorProcess]:
    """A market of two symbols."""
    with simulator.running(tmp_path, MARKET) as running:
        yield running


@pytest.fixture
async def kafka(broker: Broker) -> AsyncIterator[Kafka]:
    """The broker's log, without topics that an earlier test left."""
    await _delete(broker.bootstrap, [topic.name for topic in topics.ALL])
    yield open_kafka(KafkaAddress(bootstrap=broker.bootstrap, client_id="reader"))


async def _admin(bootstrap: str, **options: Any) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, **options)
    await admin.start()
    return admin


async def _delete(bootstrap: str, names: list[str]) -> None:
    admin = await _admin(bootstrap)
    try:
        there = [name for name in names if name in await admin.list_topics()]
        if there:
            await admin.delete_topics(there)
        while set(there) & set(await admin.list_topics()):
            await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def _limit(bootstrap: str, topic: str, size: int) -> None:
    admin = await _admin(bootstrap)
    try:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": str(size)})
        await admin.alter_configs([resource])
    finally:
        await admin.close()


async def _grow(forwarder: Any, count: int) -> None:
    """Wait until so many more trades are acknowledged."""
    lane = forwarder.publisher.lanes[topics.TRADES.name]
    wanted = lane.counts.produced + count
    await until(lambda: lane.counts.produced >= wanted, 60)


@pytest.mark.e2e
async def test_forwarder_when_the_broker_is_killed_then_class_within_five_seconds_and_nothing_lost(
    broker: Broker, kafka: Kafka, market: simulator.SimulatorProcess
) -> None:
    """A killed broker is an outage of metadata; reading goes on, and all of it arrives once it is back."""
    async with forwarding(environment(market, broker.bootstrap)) as forwarder:
        await ready(forwarder)
        await _grow(forwarder, 5)
        broker.stop(kill=True)
        killed = time.monotonic()
        body = await unready(forwarder, "kafka_metadata")
        noticed = time.monotonic() - killed
        assert (body["gates"]["kafka"], body["gates"]["alpaca_ws"]) == (False, True)
        received = forwarder.received
        await until(lambda: forwarder.received > received + 20)
        await asyncio.to_thread(broker.start)
        await ready(forwarder)
        await _grow(forwarder, 5)
        assert forwarder.session.reconnects == 0
    assert noticed < 6.0  # not a measure of speed: the contract's five seconds, and the watch's step
    await assert_complete(kafka, market)


async def test_forwarder_when_the_broker_freezes_then_class_within_five_seconds_and_nothing_twice(
    broker: Broker, kafka: Kafka, market: simulator.SimulatorProcess
) -> None:
    """What was sent before the silence is not sent again under another number."""
    async with forwarding(environment(market, broker.bootstrap, KAFKA_REQUEST_TIMEOUT_MS="3000")) as forwarder:
        await ready(forwarder)
        await _grow(forwarder, 5)
        broker.pause()
        frozen = time.monotonic()
        try:
            await unready(forwarder, "kafka_metadata")
            noticed = time.monotonic() - frozen
            await asyncio.sleep(4)  # the client gives its request up and asks again
        finally:
            broker.resume()
        await ready(forwarder)
        await _grow(forwarder, 5)
    assert noticed < 6.0
    await assert_complete(kafka, market)


async def test_forwarder_when_a_record_is_too_large_for_the_topic_then_it_alone_is_missing(
    broker: Broker, kafka: Kafka, market: simulator.SimulatorProcess
) -> None:
    """One giant trade stops no other, nothing is appended twice, and readiness stays."""
    async with forwarding(environment(market, broker.bootstrap)) as forwarder:
        await ready(forwarder)
        recent = forwarder.readiness()[1]["recent"]
        await _limit(broker.bootstrap, topics.TRADES.name, 20_000)
        await _grow(forwarder, 5)
        junk = [f"{number * 7919 % 1_000_003:x}" for number in range(20_000)]
        giant = {"T": "t", "S": "AAPL", "i": 999_999_999, "x": "V", "p": 1.5, "s": 1, "c": junk, "z": "C"}
        market.call("/simulator/inject", {"messages": [giant]})
        await until(lambda: forwarder.publisher.dropped)
        await _grow(forwarder, 20)
        assert forwarder.publisher.dropped == {("trades", "too_large"): 1}
        assert forwarder.readiness()[0]
        assert forwarder.readiness()[1]["recent"] == recent  # nothing has been wrong since it was ready
    await assert_complete(kafka, market)


async def test_forwarder_when_its_topic_goes_then_it_is_made_anew(
    broker: Broker, kafka: Kafka, market: simulator.SimulatorProcess
) -> None:
    """A missing topic is named, and cured without a hand."""
    async with forwarding(environment(market, broker.bootstrap)) as forwarder:
        await ready(forwarder)
        await _grow(forwarder, 5)
        await _delete(broker.bootstrap, [topics.TRADES.name])
        body = await unready(forwarder, "kafka_metadata")
        assert topics.TRADES.name in body["detail"]
        await ready(forwarder)
        await _grow(forwarder, 5)
    found = await read_topic(kafka, topics.TRADES.name)
    assert len({(each.symbol, each.payload["i"]) for each in found}) == len(found) > 0


async def test_forwarder_when_kafka_is_away_then_it_says_so_from_the_start_and_stops_in_time(
    tmp_path: Path, market: simulator.SimulatorProcess
) -> None:
    """The root cause is Kafka, whatever Alpaca does; and an end does not wait for it."""
    with_nobody = environment(market, "127.0.0.1:9", ENABLE_BARS_BACKFILL="true")
    async with forwarding(with_nobody) as forwarder:
        body = await unready(forwarder, "kafka_metadata", 5)
        assert "Kafka" in body["detail"]
        stopped = time.monotonic()
    assert time.monotonic() - stopped < 20


@pytest.mark.e2e
async def test_forwarder_when_told_to_stop_while_kafka_is_gone_then_it_ends_in_time_and_counts_the_loss(
    broker: Broker, kafka: Kafka, market: simulator.SimulatorProcess
) -> None:
    """SIGTERM's twenty seconds hold with Kafka away too; what is lost is counted to the record."""
    async with forwarding(environment(market, broker.bootstrap)) as forwarder:
        await ready(forwarder)
        await _grow(forwarder, 5)
        broker.stop(kill=True)
        await unready(forwarder, "kafka_metadata")
        lane = forwarder.publisher.lanes[topics.TRADES.name]
        await until(lambda: lane.waiting_bytes > 2000)
        stopped = time.monotonic()
    took = time.monotonic() - stopped
    await asyncio.to_thread(broker.start)
    assert took < 20
    lost = forwarder.publisher.dropped[("trades", "shutdown")]
    numbers = await assert_complete(kafka, market)
    assert lost > 0
    # A broker that was killed may have written the batch whose answer never came: nobody can know.
    assert lane.counts.produced <= len(numbers) < lane.counts.produced + lost


async def _grant(guarded: Broker, *, write: bool) -> None:
    """Grant `ws` everything, and deny it Write on the trades topic or not."""
    admin = AdminClient(
        {
            "bootstrap.servers": guarded.bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "admin",
            "sasl.password": ADMIN,
        }
    )

    def acl(kind: ResourceType, name: str, operation: AclOperation, permission: AclPermissionType) -> AclBinding:
        return AclBinding(kind, name, ResourcePatternType.LITERAL, "User:ws", "*", operation, permission)

    everything = [
        acl(ResourceType.TOPIC, "*", AclOperation.ALL, AclPermissionType.ALLOW),
        acl(ResourceType.BROKER, "kafka-cluster", AclOperation.ALL, AclPermissionType.ALLOW),
    ]
    denied = (ResourceType.TOPIC, topics.TRADES.name, AclOperation.WRITE, AclPermissionType.DENY)

    def change() -> None:
        asked = admin.create_acls(everything if write else [acl(*denied)])
        if write:
            kind, name, operation, permission = denied
            its = AclBindingFilter(kind, name, ResourcePatternType.LITERAL, "User:ws", "*", operation, permission)
            asked = {**asked, **admin.delete_acls([its])}
        for answer in asked.values():
            answer.result(20)

    await asyncio.to_thread(change)


async def test_forwarder_when_the_write_right_is_withdrawn_then_auth_and_it_recovers_when_given_back(
    guarded: Broker, market: simulator.SimulatorProcess
) -> None:
    """A wrong password and a missing right are `kafka_auth`; nothing is lost or doubled meanwhile."""
    await _grant(guarded, write=True)
    secured = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECH": "SCRAM-SHA-512", "KAFKA_SASL_USER": "ws",
    }  # fmt: skip
    async with forwarding(environment(market, guarded.bootstrap, **secured, KAFKA_SASL_PASSWORD="wrong-one")) as wrong:
        body = await unready(wrong, "kafka_auth")
        assert "wrong-one" not in str(body)
    async with forwarding(environment(market, guarded.bootstrap, **secured, KAFKA_SASL_PASSWORD=USER)) as forwarder:
        await ready(forwarder)
        await _grow(forwarder, 5)
        await _grant(guarded, write=False)
        body = await unready(forwarder, "kafka_auth")
        assert body["gates"] == {"alpaca_ws": True, "kafka": False, "trade_updates": True}
        quotes = forwarder.publisher.lanes[topics.QUOTES.name]
        before = quotes.counts.produced
        await until(lambda: quotes.counts.produced > before + 20)  # another topic's trouble is not this one's
        assert not forwarder.readiness()[0]
        await _grant(guarded, write=True)
        await ready(forwarder)
        await _grow(forwarder, 5)
    security = Security(protocol="SASL_PLAINTEXT", username="ws", password=SecretStr(USER))
    await assert_complete(
        open_kafka(KafkaAddress(bootstrap=guarded.bootstrap, client_id="reader", security=security)), market
    )
