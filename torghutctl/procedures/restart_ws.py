"""Restart the forwarder: a new `restartedAt` on its pod template, and one replica where git says otherwise."""

from __future__ import annotations

from torghut_core.clock import utc_datetime
from torghutctl.planning.plan import Draft, Precondition
from torghutctl.procedures.evidence import read_source
from torghutctl.procedures.specification import PlanningInput, Spec, draft_of, open_manifest
from torghutctl.procedures.verification import Check, Stage, compare

FILE = "ws/deployment.yaml"
_SECOND_CONNECTION = "alpaca_406_second_connection"
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"

SPEC = Spec(
    name="restart-ws",
    summary="Restart the market-data forwarder.",
    when="/readyz stays 503: a second connection took the account's one slot (406), a secret was rotated, Kafka is "
    "healthy again but the forwarder is not; or more than one replica runs.",
    needs="the repository alone. For a 406, first make sure that the other client is gone.",
    does="sets kubectl.kubernetes.io/restartedAt to --at (or now, UTC seconds) in ws/deployment.yaml, and spec.replicas "
    "to 1 where git says otherwise. --plan needs the same --at as the plan had.",
    verify="one pod, 1/1 ready; /readyz 200; the status topic goes on; bars are fresh within minutes of the session.",
    undo="nothing to undo: reverting the change restarts the forwarder once more.",
    paths=(FILE,),
    is_stamped=True,
)


def plan(given: PlanningInput) -> Draft:
    """Return the draft. Raises UneditableError when the Deployment cannot be edited."""
    editor, index = open_manifest(given, FILE, "Deployment", given.environment.names.ws_deployment)
    replicas = editor.yaml.value((index, "spec", "replicas"))
    if replicas not in (None, "1"):
        editor.set((index, "spec", "replicas"), "1", label="spec.replicas", is_text=False)
    stamp = utc_datetime(given.at_ns).strftime("%Y-%m-%dT%H:%M:%SZ")
    address = (index, "spec", "template", "metadata", "annotations", RESTARTED_AT)
    editor.set(address, stamp, label=RESTARTED_AT, is_text=True, is_restart=True)
    return draft_of(
        [editor],
        Draft(
            preconditions=(
                Precondition(
                    name="git wants one replica",
                    ok=replicas in (None, "1"),
                    detail=f"spec.replicas is {replicas or '1 by default'}"
                    + ("" if replicas in (None, "1") else "; set to 1"),
                    refuses=False,
                ),
                _one_connection(given),
            ),
            verification=(
                f"Deployment {given.environment.names.ws_deployment}: one pod, 1/1 ready, restartedAt {stamp}",
                "/readyz of the forwarder answers 200 with ready=true",
                given.look("health-report"),
            ),
            rollback=("none needed: a revert restarts the forwarder once more",),
            summary="restart the forwarder",
            risk="Market data pauses for the seconds of one restart; the gap is filled from REST where backfill is on.",
        ),
    )


def _one_connection(given: PlanningInput) -> Precondition:
    """Ask who holds the account's one stream: while another client does, a restart frees nothing."""
    name = "nobody else holds the account's stream"
    readings = given.snapshot.readings if given.snapshot is not None else {}
    answers = [r.value for s, r in readings.items() if s.startswith("forwarder/readyz/") and r.is_ok]
    classes = sorted({str(answer.get("errorClass")) for answer in answers if answer.get("errorClass")})
    if not answers:
        return Precondition(name=name, ok=None, detail="the forwarder was not asked", refuses=False)
    if _SECOND_CONNECTION not in classes:
        detail = f"the forwarder tells of {', '.join(classes) or 'no error'}"
        return Precondition(name=name, ok=True, detail=detail, refuses=False)
    who = "a second forwarder or cluster, a notebook, a desktop with this key"
    detail = f"Alpaca answers 406: find the other client first ({who}); a restart frees no slot while it is there"
    return Precondition(name=name, ok=False, detail=detail, refuses=False)


def verify(given: PlanningInput) -> tuple[Check, ...]:
    """Return the checks that show the change to be true: the Deployment as its manifest has it, one pod ready."""
    editor, index = open_manifest(given, FILE, "Deployment", given.environment.names.ws_deployment)
    wanted = editor.yaml.value((index, "spec", "template", "metadata", "annotations", RESTARTED_AT))
    found = read_source(given, "forwarder/deployment").value or {}
    readings = given.snapshot.readings if given.snapshot is not None else {}
    ready = [r.value.get("ready") for s, r in readings.items() if s.startswith("forwarder/readyz/") and r.is_ok]
    is_current = found.get("observedGeneration") == found.get("generation") and found.get("updatedReplicas") == 1
    return (
        compare(Stage.LIVE, "restartedAt", wanted, found.get("templateRestartedAt")),
        Check(
            stage=Stage.LIVE, name="one updated pod", ok=is_current, detail=f"updated {found.get('updatedReplicas')}"
        ),
        Check(stage=Stage.EFFECTIVE, name="/readyz", ok=ready == [True], detail=f"ready={ready}"),
    )
