#!/bin/sh
# Installs the project-x-py package, an independent client of the gateway, for the tests that drive it against the
# simulator. It needs Python 3.12 or later; on a machine without one those tests are left out.
set -eu
cd "$(dirname "$0")"
VERSION=4.4.1

if [ -f ".venv/.installed-$VERSION" ]; then exit 0; fi
for python in python3.14 python3.13 python3.12 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9].*/bin/python; do
    if command -v "$python" >/dev/null 2>&1 &&
        "$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
        rm -rf .venv
        "$python" -m venv .venv
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "project-x-py==$VERSION"
        touch ".venv/.installed-$VERSION"
        exit 0
    fi
done
echo "Without Python 3.12 or later, tests that need it are left out."
