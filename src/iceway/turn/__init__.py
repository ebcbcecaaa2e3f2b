"""STUN and TURN machines: binding client, relay client, relay server.

`client.TurnClient` asks a relay for an address and sends through it; `binding.BindingClient` learns a mapped
address; `server.TurnServer` is the relay. `transaction` is the retransmission of RFC 8489 §6.2 by itself.
"""
