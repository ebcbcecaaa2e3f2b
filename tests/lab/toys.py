"""Toy machines: they do what a test tells them and remember what came."""

from iceway.core.address import Address
from iceway.core.machine import (
    CloseStream,
    Connect,
    DatagramReceived,
    Listen,
    OpenUdp,
    Outbox,
    Resolve,
    SendDatagram,
    SendStream,
    StreamAccepted,
    StreamReceived,
    TlsClient,
    TlsServer,
    UdpOpened,
)


class Toy(Outbox):
    """Opens sockets and connections on command. With `echo`, it sends everything back where it came from."""

    def __init__(self, *, echo=False):
        super().__init__()
        self.echo = echo
        self.heard = []
        self.instants = []
        self.deadlines = []

    # --- the machine contract
    def handle_input(self, event, now):
        self.heard.append(event)
        self.instants.append(now)
        if self.echo and isinstance(event, DatagramReceived):
            self.emit(SendDatagram(event.local, event.remote, event.data))
        if self.echo and isinstance(event, StreamReceived):
            self.emit(SendStream(event.stream, event.data))

    def handle_timeout(self, now):
        while self.deadlines and self.deadlines[0] <= now:
            self.heard.append(("woke", now, self.deadlines.pop(0)))

    def poll_timeout(self):
        return self.deadlines[0] if self.deadlines else None

    # --- what came
    def all(self, kind):
        return [event for event in self.heard if isinstance(event, kind)]

    def last(self, kind):
        return self.all(kind)[-1]

    @property
    def data(self):
        return [event.data for event in self.all(DatagramReceived)]

    def text(self, stream):
        return b"".join(event.data for event in self.all(StreamReceived) if event.stream == stream)

    # --- commands
    def wake_at(self, *instants):
        self.deadlines = sorted([*self.deadlines, *instants])


class Desk:
    """A host of a world with a toy on it, for tests to speak through."""

    def __init__(self, world, host, *, echo=False, toy=None, **options):
        self.world = world
        self.toy = toy or Toy(echo=echo)
        self.program = world.run(host, self.toy, **options)
        self.name = self.program.name

    def does(self, *outputs):
        self.world.call(self.name, lambda now: [self.toy.emit(output) for output in outputs])

    def opens(self, local, key="udp", ports=None):
        """A UDP socket; its address."""
        ip, _, port = local.partition(":")
        self.does(OpenUdp(key, Address(ip, int(port or 0)), ports))
        self.world.advance(0)
        return self.toy.last(UdpOpened).local

    def sends(self, local, remote, data=b"hello"):
        self.does(SendDatagram(local, remote, data))

    def listens(self, local, key="in", tls=None):
        self.does(Listen(key, Address.parse(local), TlsServer(*tls) if tls else None))
        self.world.advance(0)

    def connects(self, remote, stream="out", tls=None):
        self.does(Connect(stream, Address.parse(remote), tls=TlsClient(*tls) if tls else None))

    def says(self, stream, data):
        self.does(SendStream(stream, data))

    def closes(self, stream, *, abort=False):
        self.does(CloseStream(stream, abort))

    def resolves(self, name, record_type="A"):
        self.does(Resolve("lookup", name, record_type))

    def accepted(self):
        return self.toy.last(StreamAccepted)
