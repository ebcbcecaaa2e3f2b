"""Fuzz targets: what must hold of a parser for any bytes. `make fuzz` searches for bytes that break it.

A target is a module with `check(data)`, which raises when something is wrong, and `seeds()`, inputs to begin with.
Targets know nothing of the fuzzer, so `test_targets.py` tries them on every run of the tests, on their seeds, on
`FOUND` (inputs that broke them once) and on a few random bytes.
"""
