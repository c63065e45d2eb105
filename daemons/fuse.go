package daemons

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fuse is a kernel timer that kills this process unless it is wound up again: SIGKILL reaches a stopped process too, and
// the clock goes on during suspend.
type fuse struct {
	id int32
	on bool
}

// sigevent is the kernel's struct sigevent, which is 64 bytes long.
type sigevent struct {
	value  uintptr
	signal int32
	notify int32
	_      [64 - unsafe.Sizeof(uintptr(0)) - 8]byte
}

// wind lets the fuse burn for d from now. It makes the timer when there is none.
func (f *fuse) wind(d time.Duration) error {
	if !f.on {
		event := sigevent{signal: int32(unix.SIGKILL)} // notify 0 is SIGEV_SIGNAL: the whole process
		_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&f.id)))
		if errno != 0 {
			return os.NewSyscallError("timer_create", errno)
		}
		f.on = true
	}
	return f.set(max(d, time.Millisecond))
}

// stop puts the fuse out.
func (f *fuse) stop() {
	if f.on {
		f.set(0) //nolint:errcheck // the timer exists
	}
}

func (f *fuse) set(d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	_, _, errno := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(f.id), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("timer_settime", errno)
	}
	return nil
}
