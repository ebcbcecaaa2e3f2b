"""The grid: every pair of twelve networks, two real ICE agents in them, and what became of it. Start at `play`."""
