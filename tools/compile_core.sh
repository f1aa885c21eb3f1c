#!/bin/sh
# Compile the analyzers with mypyc, from the source as it stands, into a second copy of the package at build/compiled.
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
# Analyzers only: what goes to worker processes in reading.py has to be pickled, and compiled records cannot be.
modules=$(find escapement/core/analysis -name '*.py' ! -name '__init__.py' ! -name 'analyzer.py' ! -name 'reading.py' | LC_ALL=C sort)
# shellcheck disable=SC2086 # one word for each module
PYTHONPATH=. "$python" -m mypyc --strict --ignore-missing-imports $modules >mypyc.log 2>&1 || {
    cat mypyc.log >&2
    exit 1
}
rm -rf build
echo "compiled into build/compiled:"
for module in $modules; do echo "  $module"; done
echo "run it with PYTHONPATH=build/compiled"
