#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Scores ./conntap read against Zeek's own logs in ../shared/conformance and
# fails unless every trace that must be exact is: those of core.txt, random/ and
# synthetic/, but for the traces that hack/score-exceptions.txt names with the
# reason. The other groups are printed, without a bar.
set -euo pipefail
cd "$(dirname "$0")/.."

conformance=../shared/conformance
results=$(mktemp)
trap 'rm -f "$results" "$results.txt"' EXIT
"$conformance/score" --json "$results" >"$results.txt" || true # judged below
grep -E '^(rows|column agreement|traces exact)' "$results.txt"

python3 - "$results" "$conformance/core.txt" hack/score-exceptions.txt <<'END'
import json, sys

results = {r["name"]: r for r in json.load(open(sys.argv[1]))}
core = set(open(sys.argv[2]).read().split("\n")) - {""}
lines = (line.strip() for line in open(sys.argv[3]))
excepted = dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))
groups = {
    "core.txt": [n for n in results if n in core],
    "random/": [n for n in results if n.startswith("random/")],
    "synthetic/": [n for n in results if n.startswith("synthetic/")],
}
failures = ["core.txt names %s, which is not there" % n for n in sorted(core - set(results))]
for group, names in groups.items():
    wrong = [n for n in names if not results[n]["exact"]]
    print("%-10s exact: %d/%d" % (group, len(names) - len(wrong), len(names)))
    if not names:
        failures.append("%s has no traces" % group)
    for n in wrong:
        if n in excepted:
            print("  but for %s: %s" % (n, excepted[n]))
        else:
            diffs = results[n]["diffs"][:3] or results[n]["stderr"] or ["exit %s" % results[n]["code"]]
            failures.append("%s differs: %s" % (n, "; ".join(diffs)))
for n in excepted:
    if n not in results or results[n]["exact"]:
        failures.append("hack/score-exceptions.txt names %s, which is exact or not there" % n)
for f in failures:
    print("score:", f, file=sys.stderr)
sys.exit(1 if failures else 0)
END
