#!/bin/sh
# Runs every fuzz target of the module for the time given, one after the other, and stops at the first
# finding. Go keeps the input that failed under the package's testdata/fuzz: commit it with the mend.
set -eu
for_each=${1:-10s}
for package in $(go list ./...); do
	listed=$(go test -run '^$' -list '^Fuzz' "$package") || { echo "$listed"; exit 1; } # it does not build
	for target in $(echo "$listed" | grep '^Fuzz' || true); do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$for_each" "$package"
	done
done
