#!/bin/sh
# Resolve pyproject.toml to exact versions that install on every supported Python and platform.
# requirements.txt is what the program needs; requirements-dev.txt is what its tests and checks need besides.
# Usage: make pins, or tools/pin_requirements.sh PYTHON [--upgrade]; the python given needs the package uv.
set -eu
cd "$(dirname "$0")/.."
python=$1
shift
compile() {
    "$python" -m uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
        --no-header --no-annotate "$@" pyproject.toml
}
compile "$@" --output-file requirements.txt
everything=$(mktemp)
trap 'rm -f "$everything"' EXIT
[ -f requirements-dev.txt ] && grep -v '^-r' requirements-dev.txt >"$everything"
compile "$@" --extra dev --extra docs --extra charts --extra search --extra dask --extra parquet --extra ray --extra redis --constraint requirements.txt \
    --output-file "$everything"
{
    echo '-r requirements.txt'
    grep -vxF -f requirements.txt "$everything"
} >requirements-dev.txt
