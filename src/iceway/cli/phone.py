"""`iceway phone`: a phone for people, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iceway.cli import Exit, _client

if TYPE_CHECKING:
    from iceway.client.run import Client
    from iceway.media.files import Sink, Source
    from iceway.tui.desk import Desk


def register(app: typer.Typer) -> None:
    app.command("phone")(phone)


@_client.with_client_options
def phone(
    options: _client.ClientOptions,
    play: Annotated[
        Path | None, typer.Option(help="WAV file to play to whom you talk with, over and over.")
    ] = None,
    recordings: Annotated[
        Path | None, typer.Option(help="Directory for recordings (default: in $XDG_DATA_HOME).")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="File for warnings (default: in $XDG_STATE_HOME).")] = None,
) -> int:
    """A phone in the terminal: contacts, calls, and how each call goes, live. Press ? in it for its keys."""
    from iceway.io import logging
    from iceway.io.run import run
    from iceway.tui import terminal
    from iceway.tui.app import PhoneApp
    from iceway.tui.contacts import ContactBook
    from iceway.tui.desk import Desk, Options

    terminal.must_be_a_terminal()
    identity = _client.sip_uri(options.identity)
    password = _client.read_password(options.password_file, identity)

    def connect(desk: Desk) -> Client:
        return _client.make_client(
            options,
            password=password,
            media=desk.attend,
            on_registration=desk.registration,
            on_news=desk.news,
            listeners=(desk.story.hear,),
        )

    def devices() -> tuple[Source, Sink]:
        from iceway.media.files import FileSource, NullSink, SilenceSource

        return FileSource(play, loop=True) if play else SilenceSource(), NullSink()

    desk = Desk(
        connect,
        ContactBook.of_user(),
        Options(devices, recordings or terminal.recordings_directory(), identity.rpartition("@")[2]),
    )
    app = PhoneApp(desk, identity)

    async def main() -> None:
        try:
            await app.run_async()
        finally:
            await desk.leave()

    with terminal.all_to_ourselves(log or terminal.state_directory() / "phone.log") as out:
        logging.configure(stream=out)
        try:
            run(main())
        finally:
            logging.configure()
    if app.return_value is not None:
        raise app.return_value
    return app.return_code or Exit.DONE
