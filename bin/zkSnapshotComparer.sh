#!/usr/bin/env bash
# Compares two snapshots, with the command line of Java's SnapshotComparer.
ZOOBINDIR="$(cd "$(dirname "${BASH_SOURCE-$0}")" && pwd)"
. "$ZOOBINDIR/zkEnv.sh"
exec "$OSTLER" snapshot comparer "$@"
