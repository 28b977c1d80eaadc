#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Asks Prometheus every query of the Grafana dashboard, and evaluates the alert rules,
# while conntap captures real traffic between two network namespaces: a query that
# returns no series is an error. Needs root, prometheus (with promtool), curl, python3.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_OF_TRAFFIC:-20}
near=conntap-near-$$ far=conntap-far-$$
work=$(mktemp -d)
children=()

clean_up() {
	kill "${children[@]}" 2>/dev/null || true
	wait
	ip netns del "$near" 2>/dev/null || true
	ip netns del "$far" 2>/dev/null || true
	rm -rf "$work"
}

for tool in ip prometheus promtool curl python3; do
	command -v "$tool" >/dev/null || { echo "dashboard: $tool is not installed" >&2; exit 1; }
done
[ -x conntap ] || make build
go build -o build/traffic ./hack/traffic
promtool check rules hack/prometheus/conntap.rules.yml
promtool test rules hack/prometheus/conntap.rules.test.yml

trap clean_up EXIT
ip netns add "$near"
ip netns add "$far"
ip link add eth0 netns "$far" type veth peer name eth0 netns "$near"
for side in "$far:1" "$near:2"; do
	ip -n "${side%:*}" addr add "10.9.0.${side#*:}/24" dev eth0
	ip -n "${side%:*}" addr add "fd00:9::${side#*:}/64" dev eth0 nodad
	ip -n "${side%:*}" link set lo up
	ip -n "${side%:*}" link set eth0 up
done
ip -n "$far" route add 10.9.9.0/24 via 10.9.0.2
ip -n "$near" route add blackhole 10.9.9.0/24

cat >"$work/prometheus.yml" <<END
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [$PWD/hack/prometheus/conntap.rules.yml]
scrape_configs:
  - job_name: conntap
    static_configs: [{targets: ["127.0.0.1:9190"]}]
END
ip netns exec "$near" ./conntap run --quiet -i eth0 --log-dir "$work/log" --metrics :9190 &
children+=($!)
ip netns exec "$near" prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" \
	--web.listen-address=127.0.0.1:9191 --log.level=error &
children+=($!)
ip netns exec "$near" build/traffic serve &
children+=($!)
for ((end = SECONDS + seconds; SECONDS < end; )); do
	ip netns exec "$far" build/traffic make 10.9.0.2 fd00:9::2 10.9.9.9 >/dev/null || sleep 1
done

echo "healthz: $(ip netns exec "$near" curl -s http://127.0.0.1:9190/healthz)"
ip netns exec "$near" curl -s http://127.0.0.1:9190/metrics | promtool check metrics && echo "promtool: metrics ok"
ip netns exec "$near" python3 - hack/grafana/conntap.json <<'END'
import json, sys, urllib.parse, urllib.request

def ask(path, **values):
    with urllib.request.urlopen("http://127.0.0.1:9191/api/v1/" + path + "?" + urllib.parse.urlencode(values)) as answer:
        return json.load(answer)["data"]

empty = asked = 0
for panel in json.load(open(sys.argv[1]))["panels"]:
    for target in panel.get("targets", []):
        query = target["expr"]
        for name, value in {"$__rate_interval": "5s", "$__range": "1m", "$instance": ".*", "$job": "conntap"}.items():
            query = query.replace(name, value)
        series = ask("query", query=query)["result"]
        asked += 1
        empty += not series
        print(f"{len(series):4} series   {panel['title']} ({target['refId']})" + ("" if series else "   NONE: " + query))
rules = [r for g in ask("rules")["groups"] for r in g["rules"]]
bad = [r["name"] for r in rules if r["health"] != "ok"]
firing = [r["name"] for r in rules if r["state"] != "inactive"]
print(f"{asked} queries, {empty} without a series; {len(rules)} rules, not evaluated: {bad}, alerting: {firing}")
sys.exit(1 if empty or bad or firing or not rules else 0)
END
