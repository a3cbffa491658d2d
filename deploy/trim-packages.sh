#!/bin/sh
# Make the installed packages below $1 smaller; a step of the Dockerfile. Debugging symbols and the packages' own tests go.
set -eu
find "$1" -type f -name '*.so*' -exec strip --strip-unneeded {} +
find "$1" -type d -name tests -prune -exec rm -r {} +
