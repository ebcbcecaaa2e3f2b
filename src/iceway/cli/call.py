"""`iceway call`: call somebody, play, record, and tell how the media went."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iceway.cli import Exit, _client

if TYPE_CHECKING:
    from iceway.client.run import LiveCall


def register(app: typer.Typer) -> None:
    app.command("call")(call)


def call(
    peer: Annotated[str, typer.Argument(help="Whom to call: bob@example.test.")],
    identity: _client.Identity,
    play: Annotated[Path | None, typer.Option(help="WAV file to play once somebody answers.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="WAV file for what is heard, early media included.")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(help="Hang up so many seconds after the answer (default: when `play` is out)."),
    ] = None,
    answer_within: Annotated[
        float, typer.Option(help="Give up if nobody answers for so many seconds.")
    ] = 60.0,
    server: _client.Server = None,
    ca: _client.Authority = None,
    nameserver: _client.NameServer = None,
    interface: _client.Interface = None,
    relay: _client.Turn = None,
    relay_only: _client.RelayOnly = False,
    password_file: _client.PasswordFile = None,
    trace: _client.Trace = None,
    json: _client.AsJson = False,
) -> int:
    """Call somebody and say how the media found its way.

    Without --play and --duration the call lasts until the other side hangs up. Exit code 1: no call came of it;
    130: interrupted (Ctrl-C hangs up).
    """
    from iceway.client.run import CallFailed, RegistrationFailed, make_media
    from iceway.io.run import run

    identity, peer_uri = _client.sip_uri(identity), _client.sip_uri(peer)
    tell = _client.Teller(json)
    media = make_media(play, record)
    client = _client.make_client(
        identity,
        password_file,
        server=server,
        ca=ca,
        nameserver=nameserver,
        interface=interface,
        relay=relay,
        relay_only=relay_only,
        trace=trace,
    )

    async def main() -> int:
        try:
            await client.start()
        except RegistrationFailed as failure:
            media.sink.close()
            return _client.not_registered(tell, failure, client)
        try:
            tell.step("registered", f"registered as {identity}", identity=identity)
            live = await client.call(peer_uri, play=media.source, record=media.sink)
            try:
                await live.answered(answer_within)
                tell.step("answered", f"{peer} answered", peer=peer)
                await _last(live, duration, played=play is not None)
            except CallFailed as failure:
                if not live.was_answered:
                    live.hang_up()
                    tell.step("failed", f"no call: {failure}", reason=str(failure))
                    tell.text(live.explain())
                    return Exit.FAILED
            live.hang_up()
            from iceway.explain.summary import headline

            path = live.path
            tell.step("ended", headline(path), path=path.path.value, reason=live.end_reason)
            tell.text(live.explain())
            return Exit.DONE
        finally:
            await client.stop()

    try:
        ending = run(main())
    finally:
        media.sink.close()  # nobody else does if it never came to a call
    return Exit.INTERRUPTED if ending is None else ending


async def _last(live: LiveCall, duration: float | None, *, played: bool) -> None:
    """Until the other side hangs up, or it is time to."""
    if duration is None and not played:
        await live.ended()
        return
    if duration is None:
        await live.played()
        duration = 1.0  # the other side's last words are still on their way
    from iceway.client.run import CallFailed

    with contextlib.suppress(CallFailed):
        await live.ended(duration)
