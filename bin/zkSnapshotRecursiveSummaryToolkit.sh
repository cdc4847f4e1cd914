#!/usr/bin/env bash
# Sums up a snapshot, with the command line of Java's SnapshotRecursiveSummary.
ZOOBINDIR="$(cd "$(dirname "${BASH_SOURCE-$0}")" && pwd)"
. "$ZOOBINDIR/zkEnv.sh"
exec "$OSTLER" snapshot recursive-summary "$@"
