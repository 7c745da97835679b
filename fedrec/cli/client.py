"""`fedrec client`: a person's device, from the command line. Nothing here needs torch."""

import typer

from fedrec.cli import client_device, client_fleet, client_keeping, client_lists, client_rights

app = typer.Typer(help="A person's device: recommend, give feedback, see, steer, pause, erase.", no_args_is_help=True)
app.command("init")(client_device.init)
app.command("update")(client_device.update)
app.command("rollback")(client_device.rollback)
app.command("page")(client_device.page)
app.command("record")(client_lists.record)
app.command("recommend")(client_lists.recommend)
app.command("explain")(client_lists.explain)
app.command("feedback")(client_lists.feedback)
app.command("undo")(client_lists.undo)
app.command("privacy")(client_rights.privacy)
app.command("opt-in")(client_rights.opt_in)
app.command("opt-out")(client_rights.opt_out)
app.command("pause")(client_rights.pause)
app.command("keep")(client_keeping.keep)
app.command("rotate-key")(client_keeping.rotate_key)
app.command("enrol")(client_fleet.enrol)
app.command("run")(client_fleet.run)
app.command("export")(client_rights.export)
app.command("erase")(client_rights.erase)
