"""The command line `audio-branch`; each command is a function in a file of its own."""

import typer

from . import check_batching, convert, embed, export, find, gradio_app, index, info, plot, push, serve

app = typer.Typer(
    help="Audio Branch: raw audio to a few segment embeddings.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
for command in (
    *(convert.convert, push.push, plot.plot, info.info, index.index, find.find, embed.embed),
    *(check_batching.check_batching, export.export, serve.serve),
):
    app.command()(command)
app.command("app")(gradio_app.gradio_app)
