"""The comparison with other proxies. bench/compare.sh prepares it and runs it.

__main__   the command line, the time budget, the order of the runs
scenarios  what is compared: one row of the results each
peers      the proxies: how each is configured, started and stopped
run        one run: a fresh sink, a fresh proxy, load against it
check      whether a peer is fit to be compared
scale      a curve over idle connections      devices  a curve over registered devices
records    what came out, as typed values; what is kept of it as JSON
report     records in, Markdown out           plots    … and SVG
"""
