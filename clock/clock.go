// Package clock reads the kernel clocks that leases are counted on.
//
// No clock here is the wall clock: a step of the wall clock changes nothing. Leases need three, because
// two of them are slewed and one stands still during suspend. Whoever holds a lease counts on the fastest
// one and whoever grants it on the slowest, so a clock that is off costs time and never exclusion.
package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Reading is one moment on this machine's clocks. Readings of different machines, or of the same machine
// before and after a reboot, cannot be compared.
type Reading struct {
	Boot time.Duration // CLOCK_BOOTTIME: counts on during suspend, slewed
	Mono time.Duration // CLOCK_MONOTONIC: stands still during suspend, slewed
	Raw  time.Duration // CLOCK_MONOTONIC_RAW: stands still during suspend, never slewed
}

// Clock is where a part that holds or grants leases gets its time from; System outside of tests.
type Clock interface {
	Now() Reading
}

// System is the machine's own clocks. The zero value is ready.
type System struct{}

// Now reads the three clocks. The kernel serves them without a system call where it can.
func (System) Now() Reading {
	return Reading{Boot: read(unix.CLOCK_BOOTTIME), Mono: read(unix.CLOCK_MONOTONIC), Raw: read(unix.CLOCK_MONOTONIC_RAW)}
}

// Longest is the time from earlier to r on the faster of the clocks that a holder may trust.
func (r Reading) Longest(earlier Reading) time.Duration {
	return max(r.Boot-earlier.Boot, r.Raw-earlier.Raw)
}

// Shortest is the time from earlier to r on the slower of the clocks that a granter may trust.
func (r Reading) Shortest(earlier Reading) time.Duration {
	return min(r.Mono-earlier.Mono, r.Raw-earlier.Raw)
}

func read(id int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic("clock: the kernel does not know clock " + string('0'+id)) // Linux has had all three since 2.6.39
	}
	return time.Duration(ts.Nano())
}
