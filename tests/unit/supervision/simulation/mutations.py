"""Rules broken on purpose: a simulation that does not notice them proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from livedub.supervision import authorize, hooks, lease, outcomes, reconcile
from livedub.supervision.contract import MediaPermit
from livedub.supervision.record import Lease, Phase, StreamRecord
from tests.unit.supervision.simulation.world import Rules


def no_generation_in_auth() -> Rules:
    """Whoever brings some token may publish."""

    def lax(record: StreamRecord, request: Any, **_: Any) -> MediaPermit:
        return MediaPermit(stream_id=record.stream_id, generation=record.lease.generation)

    return Rules(authorize=lax)


def no_kick() -> Rules:
    """A takeover leaves the old publisher on."""
    return Rules(relay_kicks=False)


def token_outlives_its_worker() -> Rules:
    """A token is good for ever, and the relay does not remember what it has permitted."""
    known: dict[str, int] = {}

    def lax(record: StreamRecord, request: Any, **rest: Any) -> MediaPermit:
        generation = known.get(authorize.credential_hash(request.credential))
        if generation is None:
            return authorize.authorize(record, request, **rest)
        return MediaPermit(stream_id=record.stream_id, generation=generation)

    def binding(record: StreamRecord, **rest: Any) -> StreamRecord:
        known[rest["publish_token_hash"]] = rest["generation"]
        return lease.bind(record, **rest)

    return Rules(authorize=lax, bind=binding, relay_refuses_older=False)


def bind_without_fence() -> Rules:
    """An agent that was overtaken starts its worker all the same."""

    def lax(record: StreamRecord, *, agent_id: str, generation: int, **rest: Any) -> StreamRecord:
        eased = replace(record.lease, phase=Phase.CLAIMED, agent_id=agent_id, ended_at_ms=None)
        generation = record.lease.generation
        return lease.bind(replace(record, lease=eased), agent_id=agent_id, generation=generation, **rest)

    def claims(record: StreamRecord, **_: Any) -> StreamRecord:
        return record

    return Rules(bind=lax, claim=claims, claim_token_checked=False)


def no_fence_at_all() -> Rules:
    """An overtaken agent never hears of it, and does not stop by itself."""

    def lax(record: StreamRecord, *, agent_id: str, generation: int, **rest: Any) -> StreamRecord:
        if record.lease.phase is not Phase.RUNNING:
            return record
        held = record.lease
        return lease.renew(record, agent_id=held.agent_id, generation=held.generation, **rest)

    return Rules(renew=lax, agent_stops_when_fenced=False)


def release_forgets_the_generation() -> Rules:
    """As a deleted row would."""

    def lax(record: StreamRecord, **rest: Any) -> StreamRecord:
        freed = lease.release(record, **rest)
        return freed if freed is record else replace(freed, lease=Lease())

    return Rules(release=lax)


def acquire_takes_what_is_held() -> Rules:
    """Every execution gets the stream, and takes it from the last one, for ever."""

    def lax(record: StreamRecord, **rest: Any) -> Any:
        return lease.acquire(replace(record, lease=Lease(record.lease.generation)), **rest)

    def always(record: StreamRecord, now_ms: int, policy: Any) -> bool:
        return lease.startable(replace(record, lease=Lease(record.lease.generation)), now_ms, policy)

    return Rules(acquire=lax, startable=always)


def no_budget() -> Rules:
    """Restarts are never counted."""

    def lax(record: StreamRecord, **rest: Any) -> Any:
        changed, verdict = outcomes.classify(replace(record, restarts_ms=()), **rest)
        return replace(changed, restarts_ms=()), verdict

    return Rules(classify=lax)


def no_restart() -> Rules:
    """A run that ended is over, whatever its publisher does; nothing repairs it."""

    def never(*_: Any, **__: Any) -> bool:
        return False

    return Rules(startable=never, plan=_plan_without(reconcile.Start))


def lost_hooks_stay_lost() -> Rules:
    """No path list is compared."""
    return Rules(plan=_plan_without(reconcile.NotePresent, reconcile.NoteAbsent))


def dead_leases_stay() -> Rules:
    """A lease never expires for reconcile or another execution."""

    def stuck(record: StreamRecord, **rest: Any) -> Any:
        held = record.lease
        if held.phase is not Phase.FREE and held.execution not in {rest["execution"], rest["adopt_from"]}:
            raise lease.LeaseRefusedError("held", record.stream_id)
        return lease.acquire(record, **rest)

    return Rules(acquire=stuck, plan=_plan_without(reconcile.ReleaseExpired))


def gone_sources_are_forgotten() -> Rules:
    """A late `publish` of a connection that has left counts as a publisher, and no path list corrects it."""

    def lax(record: StreamRecord | None, **rest: Any) -> hooks.HookResult:
        if record is not None and record.source is not None:
            record = replace(record, source=replace(record.source, gone_source_ids=()))
        return hooks.published(record, **rest)

    return Rules(published=lax, plan=_plan_without(reconcile.NoteAbsent))


def _plan_without(*kinds: type) -> Callable[..., Any]:
    def plan(*arguments: Any) -> list[reconcile.Action]:
        return [action for action in reconcile.plan(*arguments) if not isinstance(action, kinds)]

    return plan


MUTATIONS: dict[str, tuple[Callable[[], Rules], str]] = {
    "no generation in auth": (no_generation_in_auth, "publish"),
    "no kick": (no_kick, "publish at once"),
    "token outlives its worker": (token_outlives_its_worker, "publishes after"),
    "bind without fence": (bind_without_fence, "two publish tokens"),
    "no fence at all": (no_fence_at_all, "run"),
    "release forgets the generation": (release_forgets_the_generation, "generation fell"),
    "acquire takes what is held": (acquire_takes_what_is_held, "before its lease had expired"),
    "no budget": (no_budget, "restarts in"),
    "no restart": (no_restart, "a live publisher, but"),
    "lost hooks stay lost": (lost_hooks_stay_lost, "a live publisher, but"),
    "dead leases stay": (dead_leases_stay, "a live publisher, but"),
    "gone sources are forgotten": (gone_sources_are_forgotten, "no publisher, but"),
}
"""Each with words that the violation it causes contains."""
