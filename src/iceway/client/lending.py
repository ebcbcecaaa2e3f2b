"""A call borrows what it plays and shows and where it is heard and seen, so that the call that takes its place can have
them.

One call at a time holds a stream. Who waits for it, or has passed it on, plays silence, shows black, and is heard by
nobody; when the holder's stream ends it goes to the one who waits, and is closed, devices and all, only when nobody does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from iceway.client.media import PICTURES, Media
from iceway.media.files import SilenceSource, Sink, Source
from iceway.media.picture import Picture, plain
from iceway.media.pictures import Pictures, PictureSink, PictureSource
from iceway.media.sound import Samples, silence
from iceway.media.supplied import let_go

BETWEEN = 0.04  # seconds from the last picture of one call to the first of the next, where they are kept


class Loan:
    """One call's hold on the media that it was given."""

    def __init__(self, media: Media, *, before: Loan | None = None) -> None:
        """`before`: the loan of the call whose place this one's takes; it waits until `take_over`."""
        self._lent = media
        self._leases: dict[str, _Lease] = {
            kind: _Lease(before._leases[kind] if before is not None else None, *_ends(media, kind))
            for kind in media.kinds
        }

    def media(self) -> Media:
        """What to give the call: it knows nothing of all this."""
        audio = self._leases["audio"]
        lent = replace(
            self._lent,
            source=_LentSource(audio, self._lent.source),
            sink=_LentSink(audio, self._lent.sink),
        )
        for kind in PICTURES:
            pictures: Pictures | None = getattr(self._lent, kind)
            if pictures is not None:
                lent = _with(lent, kind, _lent(self._leases[kind], pictures))
        return lent

    def add(self, kind: str, pictures: Pictures, give: Callable[[Pictures], None]) -> None:
        """The same for a stream that comes to the call later. `give` may raise UsageError: then nothing is lent."""
        lease = _Lease(None, pictures.sink, (pictures.source,))
        give(_lent(lease, pictures))
        self._lent = _with(self._lent, kind, pictures)
        self._leases[kind] = lease

    def successor(self, kinds: Collection[str]) -> Loan:
        """For the call that is to take this one's place with these streams; heard and seen by nobody until then."""
        lent = replace(self._lent, early=SilenceSource())
        for kind in PICTURES:
            if kind not in kinds:
                lent = _with(lent, kind, None)
        return Loan(lent, before=self)

    def take_over(self) -> None:
        """Play and hear from now on, in place of the call before."""
        for lease in self._leases.values():
            lease.take_over()

    def renounce(self) -> None:
        """The call that waits for this is not made after all."""
        for lease in self._leases.values():
            lease.end()


class _Lease:
    """One call's hold on one stream: it waits for it, has it, or has had it."""

    def __init__(
        self, before: _Lease | None, sink: Sink | PictureSink | None, sources: tuple[object, ...]
    ) -> None:
        """`sink` and `sources` are closed by the last call that has them."""
        self._sink = sink
        self._sources = sources
        self.held = before is None
        self.over = False
        self.until = 0.0  # how far the pictures have come, in the time of their sink
        self._before = before
        self._heir: _Lease | None = None
        if before is not None:
            before._heir = self

    @property
    def waits(self) -> bool:
        return self._before is not None

    def take_over(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            self.held, before.held = before.held, False
            self.until, before._heir = before.until, None

    def end(self) -> None:
        """The call wants it no more. It is closed if nobody else does."""
        if self._heir is not None:
            self._heir.take_over()
        elif self._before is not None:
            self._before._heir = None
            self._before = None
        if self.held and not self.over:
            self.over = True
            for source in self._sources:
                let_go(source)
            if self._sink is not None:
                self._sink.close()


class _LentSource:
    def __init__(self, lease: _Lease, source: Source) -> None:
        self._lease = lease
        self._source = source

    def read(self) -> Samples | None:
        return self._source.read() if self._lease.held else silence()


class _LentSink:
    def __init__(self, lease: _Lease, sink: Sink) -> None:
        self._lease = lease
        self._sink = sink

    def write(self, samples: Samples) -> None:
        if self._lease.held:
            self._sink.write(samples)

    def close(self) -> None:
        self._lease.end()


class _LentPictures:
    def __init__(self, lease: _Lease, source: PictureSource) -> None:
        self._lease = lease
        self._source = source
        self._black = plain(320, 180)

    def read(self) -> Picture | None:
        if self._lease.held:
            return self._source.read()
        return self._black if self._lease.waits else None

    def close(self) -> None:
        self._lease.end()


class _LentScreen:
    """Times go on from call to call, as a recording wants them."""

    def __init__(self, lease: _Lease, sink: PictureSink) -> None:
        self._lease = lease
        self._sink = sink
        self._start: float | None = None

    def show(self, picture: Picture, at: float) -> None:
        if self._lease.held:
            if self._start is None:
                self._start = self._lease.until + BETWEEN - at if self._lease.until else 0.0
            self._lease.until = self._start + at
            self._sink.show(picture, self._lease.until)

    def close(self) -> None:
        self._lease.end()


def _ends(media: Media, kind: str) -> tuple[Sink | PictureSink | None, tuple[object, ...]]:
    """The sink and the sources of one stream."""
    if kind == "audio":
        return media.sink, (media.source, media.early)
    pictures: Pictures = getattr(media, kind)
    return pictures.sink, (pictures.source,)


def _lent(lease: _Lease, pictures: Pictures) -> Pictures:
    source, sink = pictures.source, pictures.sink
    return replace(
        pictures,
        source=None if source is None else _LentPictures(lease, source),
        sink=None if sink is None else _LentScreen(lease, sink),
    )


def _with(media: Media, kind: str, pictures: Pictures | None) -> Media:
    return replace(media, video=pictures) if kind == "video" else replace(media, slides=pictures)
