#!/usr/bin/env bash
# What is in deploy/prometheus, as Prometheus' own tool sees it: the rules and the configuration are well-formed, and
# each alert fires where it must, and where it just must not it does not. Run from the top of the tree.
set -euo pipefail
cd deploy/prometheus
promtool check rules rules.yml recording.yml
promtool check config prometheus.yml
promtool test rules tests/*_test.yml
