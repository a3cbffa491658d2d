#!/bin/sh
# Make the installed packages below $1 smaller and quicker to load; a step of the Dockerfile. Debugging symbols and the
# packages' own tests go. Everything is compiled now, because a container cannot keep what it compiles; only Pygments,
# whose hundreds of lexers nobody here uses, is not.
set -eu
find "$1" -type f -name '*.so*' -exec strip --strip-unneeded {} +
find "$1" -type d -name tests -prune -exec rm -r {} +
"$1/bin/python" -m compileall -q -x '/pygments/' "$1/lib"
