"""Reading a cluster: pages, other names, and objects of any shape."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import torghut_cluster as base
from tests.fakes.kubernetes_api import Cluster, Fault, serve
from torghut_core.rfc3339 import parse_ns
from torghutctl.adapters.http_client import Answer
from torghutctl.health.report import Operator, judge
from torghutctl.render import health_table, health_view
from torghutctl.snapshot import bundle, services, sources
from torghutctl.snapshot.cluster import ClusterReader
from torghutctl.snapshot.collector import Task, collect
from torghutctl.snapshot.http import ReadError
from torghutctl.snapshot.model import Failure, Names, Reading, Snapshot
from torghutctl.snapshot.reader import read
from torghutctl.snapshot.seal import seal
from torghutctl.snapshot.target import Target

NOW = parse_ns(base.NOW)


class _Direct:
    """The client without a network: answers come straight from the fake server's rules."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def get(self, path: str, query: Mapping[str, str] | None = None, *, deadline_s: float) -> Answer:
        status, body = self._cluster.answer(urlsplit(path).path, dict(query or {}))
        return Answer(status=status, body=body)


def _read_directly(cluster: Cluster) -> Snapshot:
    names = Names()
    tasks = ClusterReader(_Direct(cluster), names).tasks()  # type: ignore[arg-type]
    readings = collect(tasks, deadline_s=5, monotonic=lambda: 0.0)
    return seal(observed_at_ns=NOW, names=names, target="cluster", readings=readings)


@pytest.mark.slow
def test_read_when_a_namespace_has_many_pods_then_every_page_is_read(tmp_path: Path) -> None:
    """1,200 more pods come in three pages; the forwarder's is still found."""
    cluster = base.healthy()
    for index in range(1200):
        cluster.put(base.PODS, base.pod(f"a-{index:04d}", {"app": "other"}))
    with serve(cluster, tmp_path) as kubeconfig:
        snapshot = read(Target(kubeconfig=kubeconfig), at_ns=NOW, process={})
    assert len(snapshot.reading(sources.PODS).value) == 1210
    assert judge(snapshot, Operator())["classification"] == "healthy"


def test_read_when_a_list_expires_between_two_pages_then_it_is_read_again_from_the_beginning() -> None:
    """The API server's 410 to a page means that the list moved on, not that there are no pods."""
    cluster = base.healthy()
    for index in range(600):
        cluster.put(base.PODS, base.pod(f"a-{index:04d}", {"app": "other"}))
    expired: list[str] = []

    class Moving(_Direct):
        def get(self, path: str, query: Mapping[str, str] | None = None, *, deadline_s: float) -> Answer:
            if "continue" in (query or {}) and not expired:
                expired.append(path)
                return Answer(status=410, body=b'{"kind": "Status", "code": 410}')
            return super().get(path, query, deadline_s=deadline_s)

    client: Any = Moving(cluster)
    tasks = ClusterReader(client, Names()).tasks()
    readings = collect(tasks, deadline_s=30, monotonic=time.monotonic)
    assert (len(expired), len(readings[sources.PODS].value)) == (1, 610)


def test_read_when_resources_have_other_names_then_those_are_asked(tmp_path: Path) -> None:
    """The names of the options reach every request that they stand for."""
    names = Names(
        namespace="desk",
        service="trader",
        ws_deployment="feed",
        flink_deployment="bars",
        clickhouse_service="house",
        cnpg_cluster="ledger",
        kafka_namespace="bus",
        argocd_namespace="cd",
        argocd_application="desk-app",
    )
    cluster = base.healthy()
    with serve(cluster, tmp_path) as kubeconfig:
        read(Target(kubeconfig=kubeconfig, names=names), at_ns=NOW, process={})
    asked = {request.split("?")[0] for request in cluster.requests}
    asked.discard("/apis")
    assert not any(path.split("namespaces/")[1].split("/")[0] in ("torghut", "kafka", "argocd") for path in asked)
    for path in (
        "/apis/apps/v1/namespaces/desk/deployments/feed",
        "/apis/flink.apache.org/v1beta1/namespaces/desk/flinkdeployments/bars",
        "/apis/serving.knative.dev/v1/namespaces/desk/services/trader",
        "/apis/postgresql.cnpg.io/v1/namespaces/desk/clusters/ledger",
        "/apis/argoproj.io/v1alpha1/namespaces/cd/applications/desk-app",
        "/apis/kafka.strimzi.io/v1/namespaces/bus/kafkas/kafka",
        "/api/v1/namespaces/desk/services/house-guardrails-exporter:9108/proxy/metrics",
    ):
        assert path in asked


def test_read_when_own_credential_is_part_of_a_name_then_judged_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that equals the system's name does not make the system unreadable."""
    monkeypatch.setenv("SOME_PASSWORD", "torghut")
    with serve(base.healthy(), tmp_path) as kubeconfig:
        snapshot = read(Target(kubeconfig=kubeconfig), at_ns=NOW, process={})
    assert judge(snapshot, Operator())["classification"] == "healthy"


_STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.just(["x"]),
    st.just({"a": 1}),
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if path else []
    for key, item in children:
        found += _paths(item, (*path, key))
    return found


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
@pytest.mark.slow
def test_report_when_any_value_is_replaced_then_no_error_and_same_offline(
    data: st.DataObject, tmp_path_factory: Any
) -> None:
    """Whatever one value of one object or answer becomes, there is a report, and the bundle gives the same."""
    cluster = base.healthy()
    holders: dict[Any, Any] = dict(cluster.objects)
    holders |= {key: body for key, (_, body) in cluster.services.items() if isinstance(body, dict)}
    key = data.draw(st.sampled_from(sorted(holders, key=str)))
    changed = copy.deepcopy(holders[key])
    path = data.draw(st.sampled_from(_paths(changed)).filter(lambda found: found[:2] != ("metadata", "name")))
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = data.draw(_STRANGE)
    if isinstance(key, tuple):
        cluster.objects[key] = changed
    else:
        cluster.services[key] = (cluster.services[key][0], changed)
    snapshot = _read_directly(cluster)
    report = judge(snapshot, Operator())
    assert health_table.table(report) and health_view.markdown(report)
    folder = tmp_path_factory.mktemp("bundle")
    bundle.write(snapshot, folder / "b", "PATH")
    assert report == judge(bundle.read(folder / "b"), Operator())


def test_collect_when_a_reader_ignores_its_deadline_then_given_up() -> None:
    """A thread that hangs beyond its deadline becomes a time-out; the others are not lost."""
    forever = threading.Event()
    tasks = [
        Task(source=sources.EVENTS, read=lambda _: forever.wait(30)),
        Task(source=sources.PODS, read=lambda _: []),
    ]
    readings = collect(tasks, deadline_s=0.05, monotonic=time.monotonic)
    forever.set()
    assert (readings[sources.EVENTS].failure, readings[sources.PODS].value) == (Failure.TIMEOUT, [])


def test_read_when_a_source_is_slow_then_what_depends_on_others_is_asked_meanwhile(tmp_path: Path) -> None:
    """The Events answer only after every dependent source was asked: none of them waits for a whole first round."""
    cluster = base.healthy()
    dependent = ("/proxy/readyz", "/proxy/trading/status", "/log", "/checkpoints", "/ta/latest")
    seen: list[str] = []

    def wait(_: float) -> None:
        ends = time.monotonic() + 20
        while time.monotonic() < ends and len(seen) < len(dependent):
            seen[:] = [part for part in dependent if any(part in request for request in list(cluster.requests))]
            time.sleep(0.005)

    cluster.waits = wait
    cluster.faults[f"/{base.EVENTS}"] = Fault(delay=1)
    with serve(cluster, tmp_path) as kubeconfig:
        snapshot = read(Target(kubeconfig=kubeconfig), at_ns=NOW, process={}, deadline_s=30)
    assert (list(dependent), True) == (seen, snapshot.reading(sources.EVENTS).is_ok)


def test_collect_when_a_reader_fails_unexpectedly_then_a_failure_at_once_and_no_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An error nobody foresaw is told by its kind; its words, which may be another side's, stay out."""

    def overflow(_: float) -> float:
        raise OverflowError("planted words")

    readings = collect([Task(source=sources.EVENTS, read=overflow)], deadline_s=60, monotonic=time.monotonic)
    assert (readings[sources.EVENTS].failure, readings[sources.EVENTS].detail) == (
        Failure.UNPARSABLE,
        "the answer has an unexpected shape (OverflowError)",
    )
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("gauge", "value"),
    [
        ("clickhouse_up", "-5"),
        ("clickhouse_up", "7"),
        ("disk_free_ratio", "1e12"),
        ("disk_free_ratio", "-0.1"),
        ("disk_free_bytes", "-1"),
        ("any_replica_readonly", "-1"),
        ("ta_signals_max_event_ts_seconds", "1e300"),
        ("ta_microbars_max_window_end_seconds", "-5"),
        ("last_scrape_ts_seconds", "1e300"),
    ],
)
def test_gauges_when_a_value_is_out_of_range_then_unparsable_and_named(gauge: str, value: str) -> None:
    """A number that cannot be is no good news: the gauges count as unread, and nothing overflows later."""
    name = f"torghut_clickhouse_guardrails_{gauge}"
    lines = [
        f'{name}{{replica="a"}} {value}' if line.startswith(f"{name}{{") else line
        for line in base.gauges().splitlines()
    ]
    with pytest.raises(ReadError, match=f"gauge {gauge} is out of its range"):
        services.gauges(Answer(status=200, body="\n".join(lines).encode()))


def test_collect_when_a_whole_family_hangs_then_others_are_read_and_it_ends_at_its_deadline() -> None:
    """More symbols than a lane is wide hang: a pod's answer that is named later is read, and no symbol waits its turn."""
    forever, turns = threading.Event(), []

    def hang(seconds: float) -> None:
        turns.append(seconds)
        forever.wait(30)

    def pods(_: float) -> list[Any]:
        while len(turns) < 2:
            time.sleep(0.001)
        return []

    ready = Task(source=f"{sources.FORWARDER_READY}a", read=lambda _: "ready")
    tasks = [
        *(Task(source=f"{sources.LATEST}S{index}", read=hang) for index in range(50)),
        Task(source=sources.PODS, read=pods, then=lambda _: [ready]),
    ]
    readings = collect(tasks, deadline_s=0.2, monotonic=time.monotonic, width=2)
    forever.set()
    late = {item.failure for name, item in readings.items() if name.startswith(sources.LATEST)}
    assert ("ready", {Failure.TIMEOUT}, 52, 2) == (
        readings[ready.source].value,
        late,
        len(readings),
        len(turns),
    )


def test_snapshot_when_source_was_never_read_then_unreachable() -> None:
    """Silence is a failure, not an answer."""
    reading = Snapshot(observed_at_ns=0).reading(sources.PODS)
    assert (reading.failure, reading.is_ok) == (Failure.UNREACHABLE, False)
    assert Reading(source="x", value=None).is_ok
