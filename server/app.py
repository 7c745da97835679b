"""Flower's ServerApp: runs rounds over whatever grid Flower hands it, of a simulation or of a service."""

from contextlib import nullcontext
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedrec.federation.run_settings import RunSettings

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Serve the catalogue that the run's settings name, or else simulate their scenario.

    Either goes on where a folder holds a part of it already.
    """
    service, catalogue = (str(context.run_config.get(name, "")) for name in ("service", "catalogue"))
    if service and catalogue:
        # Lazily: a simulation needs no database, and a service nobody's data.
        from fedrec.service.rounds import serve_catalogue

        serve_catalogue(Path(service), catalogue, grid)
    else:
        _simulate(RunSettings.read(context.run_config), grid)


def _simulate(settings: RunSettings, grid: Grid) -> None:
    from fedrec.simulation.engines import engine_on
    from fedrec.simulation.run import Request, simulate

    request = Request(
        scenario=settings.scenario(),
        data=Path(settings.data),
        out=Path(settings.out),
        resume=True,
        final=settings.final,
        command="flwr run .",
    )
    simulate(request, engine_of=lambda workbench, _: nullcontext(engine_on(grid, workbench)))
