#!/bin/sh
# Installs the Debian packages the tests use. Without root it only says what is missing: the tests that
# need a missing tool then skip with that reason, and fail where CI is set.
set -eu
need=""
want() { command -v "$1" >/dev/null 2>&1 || need="$need $2"; }
want memcached memcached
want uwsgi uwsgi-core
want curl curl
want debootstrap debootstrap
want docker docker.io
want docker-compose docker-compose
want etcd etcd-server
[ -n "$need" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "missing:$need (install them to run every test)" >&2
	exit 0
fi
echo "installing:$need"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Services must not start: the tests run their own, on ports of their own.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
# shellcheck disable=SC2086
apt-get install -qq -y --no-install-recommends $need >/dev/null
