"""ICE agents of several makers, each a program that speaks the same lines of JSON.

A peer's standard input takes commands, one object a line, in the field `do`:

    gather     controlling, servers ({kind, ip, port, user, password}, a list), and perhaps policy ("all" or
               "relay"), addresses (the interfaces to use), options (what only this maker knows)
    remote     ufrag, pwd, and perhaps what only ours announces: pacing (RFC 8839 §5.5, in seconds), renomination
    candidate  line: a value of SDP's `candidate` attribute
    end        the other side has no more candidates
    send       text, once a path carries data
    greet      text, as soon as a path carries data and then every 20 ms
    hush       greet no more
    cpu        say how many seconds of CPU were used since `gather`
    close      ends the peer, as does the end of its input

Its standard output tells what happens, one object a line, each with `at`, an instant of CLOCK_MONOTONIC, which
all programs of a machine share: `ready` (it may be told to gather), `credentials` {ufrag, pwd, perhaps more},
`candidate` as it is found, `end` of the candidates, `usable` (data can be sent), `selected` {local, remote, types},
`heard` a text that is new, `failed` for a reason, and `cpu` in seconds.
"""
