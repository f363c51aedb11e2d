#!/bin/sh
# What drives the sessions in CI: nox and uv, every file hash-checked. Only pip 26.1 and
# newer check hashes for a group, so pip comes first, by the hashes of its own pin.
set -eu
pin=$(mktemp)
sed -n '/^pip==/,/[^\\]$/p' requirements.lock > "$pin"
python -m pip install --require-hashes --requirement "$pin"
python -m pip install --group nox --constraint requirements.lock --require-hashes
