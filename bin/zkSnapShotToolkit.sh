#!/usr/bin/env bash
# Prints a snapshot, with the command line of Java's SnapshotFormatter.
ZOOBINDIR="$(cd "$(dirname "${BASH_SOURCE-$0}")" && pwd)"
. "$ZOOBINDIR/zkEnv.sh"
exec "$OSTLER" snapshot formatter "$@"
