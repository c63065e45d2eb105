#!/usr/bin/env bash
# Gets the two base images the Dockerfile names. Where no registry can be reached they are made here from
# Debian's own packages: debian:bookworm-slim by debootstrap, and golang:1.26-bookworm as that with this
# machine's Go toolchain. Takes a minute, once; an image that is there is left alone.
set -euo pipefail
debian=debian:bookworm-slim golang=golang:1.26-bookworm
command -v docker >/dev/null || { echo "docker is not installed" >&2; [ -z "${CI:-}" ] && exit 0; exit 1; }
have() { docker image inspect "$1" >/dev/null 2>&1; }
pull() { have "$1" || timeout 120 docker pull -q "$1" >/dev/null 2>&1; }
{ pull $debian && pull $golang; } && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! have $debian; then
	echo "making $debian with debootstrap"
	debootstrap --variant=minbase --include=ca-certificates bookworm "$work/root" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
	cp /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/"
	rm -rf "$work"/root/var/cache/apt/archives/*.deb
	tar -C "$work/root" -c . | docker import --change 'CMD ["bash"]' - $debian >/dev/null
fi
if ! have $golang; then
	echo "making $golang from $(go version)"
	mkdir "$work/image"
	cp -a "$(go env GOROOT)" "$work/image/go"
	printf 'FROM %s\nCOPY go /usr/local/go\nENV GOPATH=/go GOTOOLCHAIN=local PATH=/go/bin:/usr/local/go/bin:$PATH\nWORKDIR /go\n' $debian >"$work/image/Dockerfile"
	docker build -q -t $golang "$work/image" >/dev/null
fi
