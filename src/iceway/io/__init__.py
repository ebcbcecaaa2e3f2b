"""The outside world: sockets, clocks, name look-ups, keys and files. Knows drivers and no protocol."""
