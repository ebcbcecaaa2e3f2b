"""ICE (RFC 8445): finding a path between two hosts, whatever stands between them. `agent.Agent` is the door."""
