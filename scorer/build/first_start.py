"""Looks for what a run's models need, before its first start makes an output folder."""

from __future__ import annotations

from scorer.build.keys import asked_key, secrets_of
from scorer.build.model_endpoints import check_fleets, check_keys
from scorer.client.blanking import Secrets
from scorer.config.spec import Spec


async def check_first_start(spec: Spec) -> None:
    """Raises SetupError where a key is not set or its command prints none.

    Raises SpecError where the replicas of a fleet cannot be found, or a recorded table is missing, has other columns or
    holds a key twice.
    """
    check_keys(spec)
    for model in spec.all_models:
        if model.provider == "recorded":
            from scorer.client.recorded import check_table

            check_table(path=model.place or "", keys=model.keys, replies=model.replies or "", where=model.where)
        else:
            await asked_key(model, Secrets(secrets_of(model)))
    await check_fleets(spec)
