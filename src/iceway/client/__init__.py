"""The client, and iceway's public API: `Client`, `LiveCall`, and what they raise."""

from iceway.client.frames import AudioFrames, FramesClosed, PictureFrames
from iceway.client.run import CallFailed, Client, LiveCall, RegistrationFailed, make_media
from iceway.client.transfers import TransferRequest
from iceway.client.ways import Ways

__all__ = [
    "AudioFrames",
    "CallFailed",
    "Client",
    "FramesClosed",
    "LiveCall",
    "PictureFrames",
    "RegistrationFailed",
    "TransferRequest",
    "Ways",
    "make_media",
]
