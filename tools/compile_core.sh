#!/bin/sh
# Compile the analyzers and what trades with mypyc, from the source as it stands, into a second copy of the package at build/compiled.
# Whoever puts that folder first on PYTHONPATH runs it; without it everything runs as plain Python.
# Usage: make compiled, or tools/compile_core.sh PYTHON. It needs a C compiler: on Debian and Ubuntu gcc or clang and
# the headers of Python (python3-dev), on macOS the command line tools (xcode-select --install).
set -eu
cd "$(dirname "$0")/.."
case $1 in
    */*) python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1") ;;
    *) python=$1 ;;
esac
if ! command -v "${CC:-cc}" >/dev/null 2>&1; then
    echo "There is no C compiler '${CC:-cc}'; install gcc or clang, or name one with CC=..." >&2
    exit 1
fi
rm -rf build/compiled
mkdir -p build/compiled
cp -R src/escapement build/compiled/
find build/compiled -name __pycache__ -type d -prune -exec rm -rf {} +
cd build/compiled
# Not what is sent to worker processes or read from files by pydantic: compiled records can be neither. Nor the
# coordinator's rules: mypyc makes the names of their classes read-only.
modules=$(
    for folder in core/analysis core/coordination core/dealing core/execution core/risk; do
        find "escapement/$folder" -maxdepth 1 -name '*.py'
    done | grep -v -e '/__init__.py' -e analysis/analyzer.py -e analysis/reading.py | LC_ALL=C sort
    for name in entry fills orders venue; do echo "escapement/simulator/$name.py"; done
    echo escapement/backtest/engine.py
)
# shellcheck disable=SC2086 # one word for each module
PYTHONPATH=. "$python" -m mypyc --strict --ignore-missing-imports $modules >mypyc.log 2>&1 || {
    cat mypyc.log >&2
    exit 1
}
rm -rf build
echo "compiled into build/compiled:"
for module in $modules; do echo "  $module"; done
echo "run it with PYTHONPATH=build/compiled"
