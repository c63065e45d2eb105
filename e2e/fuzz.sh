#!/bin/sh
# Runs every fuzz target of the module for the time given, one after the other, and stops at the first
# finding. Go keeps the input that failed under the package's testdata/fuzz: commit it with the mend.
set -eu
for_each=${1:-10s}
for package in $(go list ./...); do
	targets=$(go test -run '^$' -list '^Fuzz' "$package" | grep '^Fuzz' || true)
	for target in $targets; do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$for_each" "$package"
	done
done
