"""iceway gets calls through: SIP front end, edge, client, lab and explanations."""

__version__ = "0.1.0"
