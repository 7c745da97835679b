"""Releases and devices of which something can be seen on the page: a private plan, and a budget partly spent."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fedrec.ondevice.engine import Engine
from fedrec.ondevice.participation import opt_in
from fedrec.privacy.device_ledger import DeviceLedger
from fedrec.privacy_config import BudgetConfig
from fedrec.release import MANIFEST, SIGNATURE, Manifest, signing_key
from tests.ondevice.device_worlds import NOW, a_release, a_world
from tests.small_worlds import a_central_plan

PLAN = a_central_plan(clip_norm=0.5, noise_multiplier=4.0)
HOSTILE = "<script>document.title='taken'</script>"
ENDLESS = "A title about somebody who walked across a whole continent " * 3


def a_private_release(parent: Path) -> Path:
    """A signed release of 60 items with a private plan and a budget; two of its titles mean harm."""
    world = a_world(60)
    release = a_release(parent, replace(world, titles=[HOSTILE, ENDLESS, *world.titles[2:]]))
    more = {"plan": PLAN.as_table(), "budget": asdict(BudgetConfig(epsilon=8.0))}
    _sign_again(release, more)
    return release


def took_part(engine: Engine, times: int) -> None:
    """The device has opted in, and has paid for so many rounds."""
    opt_in(engine.store, engine.release.manifest, now=NOW)
    with DeviceLedger(engine.store) as ledger:
        for number in range(times):
            where = {"run": "run", "round": number, "token": f"token {number}", "attempt": 1, "guarantee": True}
            ledger.append(
                {
                    **PLAN.event(PLAN.participation, kind="update"),
                    **where,
                    "time": NOW + number * 86_400,
                    "bytes": 49_152,
                }
            )


def _sign_again(release: Path, lineage: Mapping[str, Any]) -> None:
    """The release's signer vouches for more."""
    content = json.loads((release / MANIFEST).read_text())
    manifest = Manifest(**{**content, "lineage": {**content["lineage"], **lineage}})
    key = signing_key(release.parent / "signing.key")
    (release / MANIFEST).write_bytes(manifest.content())
    (release / SIGNATURE).write_text(key.sign(manifest.content()).hex() + "\n")
