"""A call borrows what it plays and where its sound goes, so that the call that takes its place can have them.

One call at a time holds them. Who waits for them, or has passed them on, plays silence and is heard by nobody; when
the holder's call ends they go to the one who waits, and are closed only when nobody does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from iceway.media.files import SilenceSource, Sink, Source
from iceway.media.sound import Samples, silence

if TYPE_CHECKING:
    from iceway.client.media import Media


class Loan:
    """One call's hold on the media that it was given."""

    def __init__(self, media: Media, *, before: Loan | None = None) -> None:
        """`before`: the loan of the call whose place this one's takes; it waits until `take_over`."""
        self.held = before is None
        self._lent = media
        self._before = before
        self._heir: Loan | None = None

    def media(self) -> Media:
        """What to give the call: it knows nothing of all this."""
        return replace(
            self._lent, source=_LentSource(self, self._lent.source), sink=_LentSink(self, self._lent.sink)
        )

    def successor(self) -> Loan:
        """For the call that is to take this one's place, heard by nobody until then."""
        self._heir = Loan(replace(self._lent, early=SilenceSource()), before=self)
        return self._heir

    def take_over(self) -> None:
        """Play and hear from now on, in place of the call before."""
        before, self._before = self._before, None
        if before is not None:
            self.held, before.held = before.held, False
            before._heir = None

    def give_back(self) -> None:
        """The call has ended."""
        if self._heir is not None:
            self._heir.take_over()
        elif self.held:
            self.held = False
            self._lent.sink.close()
        elif self._before is not None:
            self._before._heir = None
            self._before = None


class _LentSource:
    def __init__(self, loan: Loan, source: Source) -> None:
        self._loan = loan
        self._source = source

    def read(self) -> Samples | None:
        return self._source.read() if self._loan.held else silence()


class _LentSink:
    def __init__(self, loan: Loan, sink: Sink) -> None:
        self._loan = loan
        self._sink = sink

    def write(self, samples: Samples) -> None:
        if self._loan.held:
            self._sink.write(samples)

    def close(self) -> None:
        self._loan.give_back()
