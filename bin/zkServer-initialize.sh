#!/usr/bin/env bash
# Makes an empty data directory: zkServer-initialize.sh [--configfile=F] [--myid=N] [--force]

ZOOBINDIR="$(cd "$(dirname "${BASH_SOURCE-$0}")" && pwd)"
. "$ZOOBINDIR/zkEnv.sh"

usage() {
  printf 'usage: %s <parameters>
  Optional parameters:
     -h                                                    Display this message
     --help                                                Display this message
     --configfile=%-40s ZooKeeper config file
     --myid=#                                              Set the myid to be used, if any (1-255)
     --force                                               Force creation of the data/txnlog dirs
' "$0" "$ZOOCFG"
  exit 1
}

while [ -n "$1" ]; do
  case "$1" in
  --configfile) ZOOCFG=$2; shift 2 ;;
  --configfile=?*) ZOOCFG=${1#*=}; shift ;;
  --myid) MYID=$2; shift 2 ;;
  --myid=?*) MYID=${1#*=}; shift ;;
  --force) FORCE=1; shift ;;
  -h | --help) usage ;;
  *) echo "Unknown option: $1"; usage ;;
  esac
done

if [ ! -e "$ZOOCFG" ]; then
  echo "Unable to find config file at $ZOOCFG"
  exit 1
fi
DATADIR="$(grep "^[[:space:]]*dataDir" "$ZOOCFG" | sed -e 's/.*=//')"
DATALOGDIR="$(grep "^[[:space:]]*dataLogDir" "$ZOOCFG" | sed -e 's/.*=//')"
if [ -z "$DATADIR" ]; then
  echo "Unable to determine dataDir from $ZOOCFG"
  exit 1
fi
if [ -n "$FORCE" ]; then
  echo "Force enabled, data/txnlog directories will be re-initialized"
else
  if [ -d "$DATADIR/version-2" ]; then
    echo "ZooKeeper data directory already exists at $DATADIR (or use --force to force re-initialization)"
    exit 1
  fi
  if [ -n "$DATALOGDIR" ] && [ -d "$DATALOGDIR/version-2" ]; then
    echo "ZooKeeper txnlog directory already exists at $DATALOGDIR (or use --force to force re-initialization)"
    exit 1
  fi
fi
for dir in "$DATADIR" ${DATALOGDIR:+"$DATALOGDIR"}; do
  rm -rf "$dir/myid" "$dir/version-2"
  mkdir -p "$dir/version-2"
done
if [ -n "$MYID" ]; then
  echo "Using myid of $MYID"
  echo "$MYID" >"$DATADIR/myid"
else
  echo "No myid provided, be sure to specify it in $DATADIR/myid if using non-standalone"
fi
touch "$DATADIR/initialize"
