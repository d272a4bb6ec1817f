"""What `scripts/bench` is made of: see there for how it is used.

table    rows, their targets, the report and its JSON
machine  commands, clocks and caches; what machine this is
data     seeded data
strata   a store and its mount
bench    what the groups share: data in place on both sides, alternating runs
groups   the groups of rows by name, each in a module of its own
curves   cost against size, drawn by plots
micro    the micro-benchmarks of tests/micro, beside saved figures
peers    our slot in a comparison with other tools
"""
