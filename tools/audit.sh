#!/bin/sh
# Compare what users install with known weaknesses. Exit code 1: some are known; 3: whoever knows them was not reached.
# Usage: tools/audit.sh PIP_AUDIT; PyPI or osv.dev (ESCAPEMENT_TEST_AUDIT=osv) has to be reachable.
set -eu
cd "$(dirname "$0")/.."
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
status=0
"$1" --vulnerability-service "${ESCAPEMENT_TEST_AUDIT:-pypi}" --requirement requirements.txt --no-deps --disable-pip \
    --progress-spinner off >"$answer" 2>&1 || status=$?
if grep -qE 'could not be audited|ConnectionError|NameResolutionError|Timeout' "$answer"; then
    echo "Known weaknesses could not be asked for: $(grep -cE 'could not be audited' "$answer" || true) packages unknown" >&2
    tail -n 1 "$answer" | cut -c 1-200 >&2
    [ "$status" != 0 ] && grep -qE '^Found [0-9]+ known' "$answer" || exit 3
fi
cat "$answer"
exit "$status"
