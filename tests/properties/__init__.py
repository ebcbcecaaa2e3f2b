"""Laws of ICE over random networks, weather and mishaps: what `laws.check` says of every `cases.Case`.

`make test` tries some hundred cases, always the same; `make nightly` tries twenty thousand, others every time. Both
shrink a case that breaks a law and print it as an expression: `laws.check(<the case>)` is the same again, packet for
packet.
"""
