//go:build processes && long

package e2e

const long = true
