"""Flower's ServerApp: runs a scenario's rounds over whatever grid Flower hands it."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedrec.federation.run_settings import RunSettings
from fedrec.simulation.engines import engine_on
from fedrec.simulation.run import Request, simulate

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Simulate the scenario that the run's settings name; a run folder that exists is resumed."""
    settings = RunSettings.read(context.run_config)

    request = Request(
        scenario=settings.scenario(),
        data=Path(settings.data),
        out=Path(settings.out),
        resume=True,
        final=settings.final,
        command="flwr run .",
    )
    simulate(request, engine_of=lambda workbench, _: engine_on(grid, workbench))
