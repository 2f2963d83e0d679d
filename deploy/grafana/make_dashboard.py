#!/usr/bin/env python3
"""Writes dashboard.json, beside this file: the panels below in Grafana's form. A test says when it is out of date.

    deploy/grafana/make_dashboard.py            writes it
    deploy/grafana/make_dashboard.py --check    exit 1 where it would write something else

A panel is (title, unit, what it shows, queries, options). A query is PromQL and its legend. $I stands for the labels of
the chosen job and instances, $L for those and the chosen listeners.
"""

import json
import sys
from pathlib import Path

FILE = Path(__file__).with_name("dashboard.json")
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
INSTANCE = 'job=~"$job",instance=~"$instance"'
LISTENER = INSTANCE + ',listener=~"$listener"'
WIDTH = 24

GOOD_IS_1 = [("red", None), ("green", 1)]
GOOD_IS_0 = [("green", None), ("red", 1)]
DAYS_LEFT = [("red", None), ("orange", 3 * 86400), ("yellow", 14 * 86400), ("green", 60 * 86400)]
SHARE_USED = [("green", None), ("yellow", 0.8), ("red", 0.9)]


def rate(metric, by, labels="$L"):
    return f"sum by ({by}) (rate(sallyport_{metric}{{{labels}}}[$__rate_interval]))"


def quantiles(metric, by="", labels="$I", of=(0.5, 0.9, 0.99)):
    """Quantiles of a histogram, by the label `by` where there is one."""
    series = f"sum by (le{', ' + by if by else ''}) (rate(sallyport_{metric}_bucket{{{labels}}}[$__rate_interval]))"
    return [(f"histogram_quantile({each}, {series})", f"p{each * 100:g}" + (f" {{{{{by}}}}}" if by else "")) for each in of]


ROWS = [
    ("At a glance", [
        ("Instances", "short", "Those that Prometheus reaches.", [('sum(up{$I})', "up")], {"stat": [("red", None), ("green", 1)]}),
        ("Connections", "short", "Open now, in whatever state.", [("sum(sallyport_sessions_open{$L})", "open")], {"stat": []}),
        ("Handshakes", "ops", "That finished, per second.", [("sum(rate(sallyport_handshakes_total{$L}[$__rate_interval]))", "")], {"stat": []}),
        ("Refused", "percentunit", "Refusals, of all that came.",
         [("sum(rate(sallyport_rejections_total{$L}[$__rate_interval])) / "
           "clamp_min(sum(rate(sallyport_rejections_total{$L}[$__rate_interval])) "
           "+ sum(rate(sallyport_handshakes_total{$L}[$__rate_interval])), 1e-9)", "")],
         {"stat": [("green", None), ("yellow", 0.05), ("red", 0.5)]}),
        ("Brokers down", "short", "Down or drained.", [("sum(1 - sallyport_upstream_up{$I})", "")], {"stat": GOOD_IS_0}),
        ("Warnings", "short", "What is wrong and served nevertheless: sallyport status says it in words.",
         [("sum(sallyport_warnings{$I})", "")], {"stat": GOOD_IS_0}),
        ("Devices", "short", "Registered, by their own status.", [("max by (status) (sallyport_devices{$I})", "{{status}}")],
         {"stat": [], "width": 6}),
        ("Version", "short", "Instances of each version.", [("count by (version) (sallyport_build_info{$I})", "{{version}}")],
         {"stat": [], "width": 6, "name": True}),
        ("Up for", "s", "Since the process began.", [('time() - process_start_time_seconds{$I}', "{{instance}}")],
         {"stat": [], "width": 6}),
        ("Last good configuration", "short", "1: the file was taken when it was read last.",
         [("min by (instance) (sallyport_reload_success{$I})", "{{instance}}")], {"stat": GOOD_IS_1, "width": 6}),
    ]),
    ("Handshakes and refusals", [
        ("Handshakes by kind", "ops", "full: the certificate is judged; known: its device was known; resumed: by a ticket.",
         [(rate("handshakes_total", "kind"), "{{kind}}")], {"stack": True}),
        ("Handshakes by version and group", "ops", "", [(rate("handshakes_total", "version, group") + " > 0", "TLS {{version}} {{group}}")],
         {"stack": True}),
        ("Handshakes by engine", "ops", "Sallyport's own TLS, or OpenSSL.", [(rate("handshakes_total", "engine"), "{{engine}}")],
         {"stack": True}),
        ("Handshakes by outcome", "ops", "Finished, refused, and connections that left before their first byte.",
         [("sum(rate(sallyport_handshakes_total{$L}[$__rate_interval]))", "finished"),
          ("sum(rate(sallyport_rejections_total{$L}[$__rate_interval]))", "refused"),
          ("sum(rate(sallyport_connections_silent_total{$L}[$__rate_interval]))", "silent")], {}),
        ("Refusals by reason", "ops", "admin/docs/reasons.md says what to do about each.",
         [(rate("rejections_total", "reason") + " > 0", "{{reason}}")], {"stack": True}),
        ("Refusals whose certificate was not proven", "ops", "Anybody may have sent these certificates.",
         [(rate("rejections_claimed_total", "reason") + " > 0", "{{reason}}")], {"stack": True}),
        ("Refusals by listener", "ops", "", [(rate("rejections_total", "listener"), "{{listener}}")], {}),
        ("Handshake time", "s", "From accept to the end of the handshake; the device's network is part of it.",
         quantiles("handshake_seconds", labels="$L"), {}),
        ("Handshake time by listener (median)", "s", "", quantiles("handshake_seconds", "listener", "$L", (0.5,)), {}),
        ("Tickets", "ops", "Issued, resumed by, and declined.", [(rate("tickets_total", "result", "$I"), "{{result}}")], {}),
        ("Clones", "ops", "CONNECTs of a certificate that had a session from elsewhere.",
         [(rate("clones_total", "listener"), "{{listener}}")], {}),
        ("Admin authentication failures", "ops", "", [(rate("admin_auth_failures_total", "instance", "$I"), "{{instance}}")], {}),
    ]),
    ("Connections and sessions", [
        ("Connections open", "short", "", [("sum by (listener) (sallyport_sessions_open{$L})", "{{listener}}")], {"stack": True}),
        ("Connections of those that fit", "percentunit", "Of connections_limit.",
         [("sum by (instance) (sallyport_sessions_open{$I}) / on (instance) group_left () max by (instance) (sallyport_connections_limit{$I})",
           "{{instance}}")], {"max": 1}),
        ("Connections accepted", "cps", "", [(rate("connections_accepted_total", "listener"), "{{listener}}")], {}),
        ("Connections silent", "cps", "They left before their first byte: health checks, scanners.",
         [(rate("connections_silent_total", "listener"), "{{listener}}")], {}),
        ("Sessions ended", "ops", "By whom, and why.", [(rate("sessions_ended_total", "origin, cause") + " > 0", "{{origin}}: {{cause}}")],
         {"stack": True}),
        ("CONNECTs by MQTT version", "ops", "", [(rate("mqtt_connects_total", "version", "$I"), "MQTT {{version}}")], {"stack": True}),
        ("Bytes forwarded", "Bps", "Plaintext.", [(rate("bytes_total", "direction", "$I"), "{{direction}}")], {}),
    ]),
    ("Brokers", [
        ("Broker up", "short", "1: up and not drained.",
         [("min by (upstream, server) (sallyport_upstream_up{$I})", "{{upstream}} {{server}}")], {"max": 1, "step": True}),
        ("Sessions by broker", "short", "", [("sum by (upstream, server) (sallyport_upstream_sessions{$I})", "{{upstream}} {{server}}")],
         {"stack": True}),
        ("Sessions that a broker failed", "ops", "Most of them went on to the next broker.",
         [(rate("upstream_failures_total", "server, kind", "$I") + " > 0", "{{server}}: {{kind}}")], {"stack": True}),
        ("Time to connect to a broker", "s", "", quantiles("upstream_connect_seconds", "server", of=(0.5, 0.99)), {}),
        ("Failovers and slow starts", "ops", "",
         [("sum(rate(sallyport_upstream_failovers_total{$I}[$__rate_interval]))", "taken to the next broker"),
          ("sum(rate(sallyport_upstream_slow_started_total{$I}[$__rate_interval]))", "waited for a slow start")], {}),
        ("Shortages of this machine", "ops", "On the way to a broker; no broker is at fault.",
         [(rate("upstream_shortages_total", "error", "$I"), "{{error}}")], {}),
    ]),
    ("Registry and standing", [
        ("Registrations", "ops", "Written, by CA; refused; served without a place in the queue.",
         [(rate("registrations_total", "ca", "$I"), "{{ca}}"),
          ("sum(rate(sallyport_registrations_refused_total{$I}[$__rate_interval]))", "refused"),
          ("sum(rate(sallyport_registrations_deferred_total{$I}[$__rate_interval]))", "deferred")], {}),
        ("Registration queue", "short", "Devices waiting to be written.",
         [("sallyport_registration_queue_depth{$I}", "{{instance}}"),
          ("sallyport_registration_queue_limit{$I}", "limit {{instance}}")], {}),
        ("Commit time", "s", "One synced batch of the registrar.", quantiles("registration_commit_seconds"), {}),
        ("Change in force", "s", "From a durable change of standing until no byte of the sessions it cut passes. Target: 100 ms.",
         quantiles("status_in_force_seconds"), {}),
        ("Cut sessions closed", "s", "Until the last of them is closed; paced by proxy.cuts_per_second.",
         quantiles("status_cut_seconds"), {}),
        ("Devices", "short", "", [("max by (status) (sallyport_devices{$I})", "{{status}}")], {}),
        ("CAs", "short", "", [("max by (status) (sallyport_cas{$I})", "{{status}}")], {}),
        ("Store", "bytes", "", [("sallyport_store_bytes{$I}", "registry {{instance}}"),
                                ("sallyport_store_free_bytes{$I}", "free {{instance}}")], {}),
        ("Store in trouble", "short", "Stalled: no write is answered. Errors: writes the disk refused.",
         [("max by (instance) (sallyport_store_stalled{$I})", "stalled {{instance}}"),
          (rate("registry_store_errors_total", "instance", "$I"), "errors/s {{instance}}")], {}),
        ("Since the last backup", "s", "Nothing here: there has been none since the start.",
         [("time() - (sallyport_backup_seconds{$I} > 0)", "good {{instance}}"),
          ("time() - (sallyport_backup_failed_seconds{$I} > 0)", "failed {{instance}}")], {"stat": [], "width": 8}),
    ]),
    ("Ends", [
        ("Certificates end in", "s", "Of listeners, the admin address, and CAs.",
         [("sort(min by (use, name, id) (sallyport_certificate_not_after_seconds{$I}) - time())", "{{use}} {{name}} {{id}}")],
         {"table": DAYS_LEFT}),
        ("CRLs are due in", "s", "", [("sort(min by (ca) (sallyport_crl_next_update_seconds{$I}) - time())", "{{ca}}")],
         {"table": [("red", None), ("green", 0)]}),
        ("Entries of CRLs", "short", "", [("max by (ca) (sallyport_crl_entries{$I})", "{{ca}}")], {}),
        ("Devices that end", "short", "Within so many days.", [("max by (within) (sallyport_devices_expiring{$I})", "{{within}}")], {}),
        ("Ends by listener", "s", "Server certificates in use, until they end.",
         [("min by (listener) (sallyport_server_certificate_not_after_seconds{$L}) - time()", "{{listener}}")], {}),
        ("CAs end in", "s", "", [("min by (ca) (sallyport_ca_not_after_seconds{$I}) - time()", "{{ca}}")], {}),
    ]),
    ("The process", [
        ("Shard load", "percentunit", "Share of time not waiting for the kernel.",
         [("sum by (instance, shard) (rate(sallyport_shard_busy_seconds_total{$I}[$__rate_interval])) "
           "/ sum by (instance, shard) (rate(sallyport_shard_seconds_total{$I}[$__rate_interval]))", "{{instance}} {{shard}}"),
          ], {"max": 1}),
        ("Shard load now", "percentunit", "As each shard measured it last.",
         [("sallyport_shard_busy_ratio{$I}", "{{instance}} {{shard}}")], {"gauge": SHARE_USED}),
        ("CPU", "short", "Cores in use.", [('rate(process_cpu_seconds_total{$I}[$__rate_interval])', "{{instance}}")], {}),
        ("Memory", "bytes", "", [("process_resident_memory_bytes{$I}", "resident {{instance}}"),
                                 ("process_virtual_memory_bytes{$I}", "virtual {{instance}}")], {}),
        ("File descriptors", "short", "", [("process_open_fds{$I}", "open {{instance}}"),
                                           ("process_max_fds{$I}", "limit {{instance}}")], {}),
        ("Threads", "short", "", [("process_threads{$I}", "{{instance}}")], {}),
        ("Log lines dropped", "ops", "What reads the log does not keep up.",
         [(rate("log_lines_dropped_total", "instance", "$I"), "{{instance}}")], {}),
        ("Warnings by kind", "short", "", [("max by (instance, kind) (sallyport_warnings{$I})", "{{kind}} {{instance}}")], {"step": True}),
        ("Warm-up at the start", "s", "", [("sallyport_warmup_seconds{$I}", "{{instance}}")], {"stat": [], "width": 4}),
        ("Configuration read", "dateTimeFromNow", "", [("sallyport_reload_seconds{$I} * 1000", "{{instance}}")],
         {"stat": [], "width": 4}),
    ]),
]


def steps(levels):
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for color, value in levels or [("green", None)]]}


def look(options):
    """(type, width, height, defaults of fieldConfig, options of the panel)"""
    if "stat" in options:
        return "stat", options.get("width", 4), 4, {"thresholds": steps(options["stat"])}, {
            "colorMode": "value" if options["stat"] else "none", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
            "textMode": "name" if options.get("name") else "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    if "gauge" in options:
        return "gauge", 8, 8, {"min": 0, "max": 1, "thresholds": steps(options["gauge"])}, {
            "orientation": "auto", "showThresholdLabels": False, "showThresholdMarkers": True,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    if "table" in options:
        return "bargauge", 12, 8, {"thresholds": steps(options["table"])}, {
            "displayMode": "lcd", "orientation": "horizontal", "showUnfilled": True, "valueMode": "color",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 20 if options.get("stack") else 5, "showPoints": "never",
              "spanNulls": False, "lineInterpolation": "stepAfter" if options.get("step") else "linear",
              "stacking": {"group": "A", "mode": "normal" if options.get("stack") else "none"}}
    defaults = {"color": {"mode": "palette-classic"}, "custom": custom, "min": 0, "thresholds": steps([])}
    if "max" in options:
        defaults["max"] = options["max"]
    return "timeseries", 8, 8, defaults, {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"}}


def panel(number, title, unit, says, queries, options):
    kind, width, height, defaults, settings = look(options)
    instant = kind != "timeseries"
    targets = [{"datasource": DATASOURCE, "editorMode": "code", "refId": chr(ord("A") + i), "legendFormat": legend or "__auto",
                "expr": expr.replace("$L", LISTENER).replace("$I", INSTANCE), "instant": instant, "range": not instant}
               for i, (expr, legend) in enumerate(queries)]
    return {"id": number, "type": kind, "title": title, "description": says, "datasource": DATASOURCE,
            "fieldConfig": {"defaults": {"unit": unit, **defaults}, "overrides": []},
            "gridPos": {"h": height, "w": width, "x": 0, "y": 0}, "options": settings, "targets": targets}


def placed(rows):
    """Every panel with an id and a place: from the left to the right, then the next line."""
    panels, y = [], 0
    for title, members in rows:
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": y}})
        x, y, tallest = 0, y + 1, 0
        for member in members:
            made = panel(len(panels) + 1, *member)
            place = made["gridPos"]
            if x + place["w"] > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            place["x"], place["y"] = x, y
            x, tallest = x + place["w"], max(tallest, place["h"])
            panels.append(made)
        y += tallest
    return panels


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": DATASOURCE, "definition": query, "includeAll": True,
            "multi": True, "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "options": [],
            "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
            "refresh": 2, "regex": "", "sort": 1, "hide": 0}


def dashboard():
    return {
        "uid": "sallyport", "title": "Sallyport", "tags": ["mqtt", "sallyport", "tls"], "schemaVersion": 42, "version": 1, "id": None,
        "description": "Sallyport, the TLS-terminating proxy in front of MQTT brokers. Made by deploy/grafana/make_dashboard.py.",
        "editable": True, "fiscalYearStartMonth": 0, "graphTooltip": 1, "refresh": "30s", "timezone": "browser", "weekStart": "",
        "time": {"from": "now-6h", "to": "now"}, "timepicker": {}, "links": [],
        "annotations": {"list": [
            {"name": "Starts", "datasource": DATASOURCE, "enable": True, "hide": False, "iconColor": "blue", "titleFormat": "start",
             "textFormat": "{{instance}}", "step": "30s",
             "expr": f"max without (shard) (resets(sallyport_shard_seconds_total{{{INSTANCE}}}[1m])) > 0"},
            {"name": "Alerts", "datasource": DATASOURCE, "enable": True, "hide": False, "iconColor": "red",
             "titleFormat": "{{alertname}}", "textFormat": "{{instance}} {{listener}} {{reason}} {{server}}", "step": "30s",
             "expr": 'ALERTS{alertname=~"Sallyport.+",alertstate="firing"}'}]},
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
             "current": {"selected": False, "text": "default", "value": "default"}, "hide": 0, "includeAll": False,
             "multi": False, "options": [], "refresh": 1, "regex": ""},
            variable("job", "Job", "label_values(sallyport_build_info, job)"),
            variable("instance", "Instance", 'label_values(sallyport_build_info{job=~"$job"}, instance)'),
            variable("listener", "Listener", 'label_values(sallyport_sessions_open{job=~"$job",instance=~"$instance"}, listener)')]},
        "panels": placed(ROWS)}


def main():
    text = json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
    if sys.argv[1:] == ["--check"]:
        if FILE.read_text() != text:
            sys.exit(f"{FILE.name} is not what {Path(__file__).name} makes: run it")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        FILE.write_text(text)


if __name__ == "__main__":
    main()
