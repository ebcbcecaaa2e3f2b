"""What every room stands on: addresses, the machine contract, timers, errors. Imports nothing above."""
