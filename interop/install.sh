#!/usr/bin/env bash
# Installs what the interop suites need and nothing else: Debian packages where a command is missing, and for each peer, in its
# own ignored folder, exactly the versions that are committed here. It may be run again and again. What cannot be had is
# said in one line, and the suite that needs it is skipped, in so many words, by run.mjs.
set -u -o pipefail
cd "$(dirname "$0")" || exit 1

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# step NAME COMMAND...: runs it quietly; one line says how it went, with the reason where it did not.
step() {
  local name=$1
  shift
  if "$@" >"$log" 2>&1; then echo "interop: $name: ready"; else
    echo "interop: $name: missing: $(grep -a . "$log" | tail -1)"
    return 1
  fi
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# package NAME TEST...: the Debian package, unless the test says that what it brings is already here.
wanted=()
package() {
  local name=$1
  shift
  "$@" >/dev/null 2>&1 || wanted+=("$name")
}

debian() {
  export DEBIAN_FRONTEND=noninteractive
  as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends "$@"
}

package curl curl --version
package openssl openssl version
package protobuf-compiler protoc --version
package python3-venv python3 -c 'import venv, ensurepip'
package python3-pip python3 -m pip --version
package golang-go go version
package redis-server redis-server --version
package iproute2 ip -V
package iputils-ping ping -V
package socat socat -V
[ ${#wanted[@]} -eq 0 ] || step "Debian's ${wanted[*]}" debian "${wanted[@]}"

go_programs() {
  command -v go || { echo 'Go is not installed'; return 1; }
  (cd go && go vet ./... && go build -o bin/ ./server ./client ./plugins)
}

gost() {
  command -v go || { echo 'Go is not installed'; return 1; }
  (cd gost/host && go vet ./... && go build -o ../bin/ .)
}

conformance() {
  command -v go || { echo 'Go is not installed'; return 1; }
  (cd conformance && go build -o bin/ connectrpc.com/conformance/cmd/connectconformance)
}

python() {
  local venv=python/bin/venv protos=../packages/plugin/proto
  mkdir -p python/bin/stubs
  # An environment that was broken off half-way, or made for other versions, is made anew.
  if ! cmp -s python/requirements.txt "$venv/made-for"; then
    rm -rf "$venv"
    python3 -m venv "$venv" || return 1
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r python/requirements.txt || return 1
    cp python/requirements.txt "$venv/made-for"
  fi
  "$venv/bin/python" -m grpc_tools.protoc -I "$protos" --python_out=python/bin/stubs \
    --grpc_python_out=python/bin/stubs "$protos"/*.proto
}

grpc_js() {
  npm ci --prefix node-grpc-js --ignore-scripts --no-audit --no-fund
}

step 'Go, grpc-go and go-gost/plugin' go_programs
step 'Go, GOST itself' gost
step 'Go, the public conformance runner' conformance
step 'Python, grpcio' python
step 'Node, grpc-js' grpc_js
exit 0
