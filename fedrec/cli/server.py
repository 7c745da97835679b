"""`fedrec server`: the aggregation service, from the command line of whoever operates it."""

import typer

from fedrec.cli import server_console, server_nodes, server_releases, server_running, server_setup

app = typer.Typer(help="The aggregation service: set up, run, look after, decide.", no_args_is_help=True)
app.command("init")(server_setup.init)
app.command("add-catalogue")(server_setup.add_catalogue)
app.command("check")(server_setup.check)
app.command("renew")(server_setup.renew)
app.command("render")(server_setup.render)
app.command("run")(server_running.run)
app.command("status")(server_running.status)
app.command("console")(server_console.console)
app.command("enrol")(server_nodes.enrol)
app.command("nodes")(server_nodes.nodes)
app.command("revoke")(server_nodes.revoke)
app.command("directory")(server_nodes.directory)
app.command("releases")(server_releases.releases)
app.command("promote")(server_releases.promote)
app.command("rollback")(server_releases.rollback)
app.command("pause")(server_releases.pause)
app.command("resume")(server_releases.resume)
app.command("stop")(server_releases.stop)
# Started by `run`, or one by one by whatever watches them instead.
app.command("front", hidden=True)(server_running.front)
app.command("rounds", hidden=True)(server_running.rounds)
