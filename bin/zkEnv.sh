#!/usr/bin/env bash
# What the scripts beside this one have in common: where things are, by the variables that zkEnv.sh of Apache
# ZooKeeper knows, and which binary is run. To be sourced, with ZOOBINDIR set.

ZOOBINDIR="${ZOOBINDIR:-/usr/bin}"
ZOOKEEPER_PREFIX="${ZOOBINDIR}/.."

# An option --config DIR before everything else.
if [ $# -gt 1 ] && [ "--config" = "$1" ]; then
  shift
  confdir=$1
  if [ ! -d "$confdir" ]; then
    echo "Error: Cannot find the config directory '$confdir'" >&2
    exit 1
  fi
  shift
  ZOOCFGDIR=$confdir
fi

if [ -z "$ZOOCFGDIR" ]; then
  if [ -e "${ZOOKEEPER_PREFIX}/conf" ]; then
    ZOOCFGDIR="$ZOOBINDIR/../conf"
  else
    ZOOCFGDIR="$ZOOBINDIR/../etc/zookeeper"
  fi
fi

if [ -f "${ZOOCFGDIR}/zookeeper-env.sh" ]; then
  . "${ZOOCFGDIR}/zookeeper-env.sh"
fi
if [ -f "${ZOOCFGDIR}/java.env" ]; then
  . "${ZOOCFGDIR}/java.env"
fi

ZOOCFG="$ZOOCFGDIR/$(basename "${ZOOCFG:-zoo.cfg}")"
ZOO_LOG_DIR="${ZOO_LOG_DIR:-$ZOOKEEPER_PREFIX/logs}"

# The binary: $OSTLER, the one beside the scripts, one that was built here, or the one on the path.
if [ -z "$OSTLER" ]; then
  for candidate in "$ZOOBINDIR/ostler" "$ZOOBINDIR/../target/release/ostler" "$ZOOBINDIR/../target/debug/ostler"; do
    if [ -x "$candidate" ]; then
      OSTLER="$candidate"
      break
    fi
  done
fi
OSTLER="${OSTLER:-$(command -v ostler)}"
if [ -z "$OSTLER" ]; then
  echo "Error: the binary ostler is neither beside this script nor on the PATH; set OSTLER to where it is" >&2
  exit 1
fi
