// Package op is the framing of what is agreed: varints, ops, results and their codes.
//
// It is written by hand because an op is encoded and decoded on every request; see the benchmarks. Callers
// pack ops into chunks, and the leader packs chunks, undecoded, into one entry of the log:
//
//	entry  = version stamp { length chunk }
//	chunk  = version length client first count { length op }
//	op     = whatever its table understands; the first byte is its kind
//
// Decoders take strangers' bytes: they never panic, never allocate more than the input is long, and leave
// it to their caller to answer Invalid.
package op

import "time"

// Version is the first byte of entries, chunks and results. A change of the framing is a new version.
const Version = 1

const (
	// MaxOp is the most bytes of one op: a value of 1 MiB and what stands around it.
	MaxOp = 1<<20 + 8<<10
	// MaxChunk is the most bytes of one chunk, which may be a single op.
	MaxChunk = MaxOp + 4<<10
)

// Code says how an op ended. Codes are agreed by raft and so must be equal on all nodes and in all
// versions: numbers are never reused.
type Code uint8

const (
	OK        Code = 0
	NotFound  Code = 1  // the key is not there
	Exists    Code = 2  // set found the key
	NoCache   Code = 3  // no cache of that name was defined
	TooLong   Code = 4  // the key is empty or longer than keysize
	TooBig    Code = 5  // the value is empty where it may not be, or longer than blocksize
	Full      Code = 6  // the cache holds its last item
	NotNumber Code = 7  // math met an item of bytes
	Refused   Code = 8  // a guard did not hold; nothing changed
	Invalid   Code = 9  // the op cannot be decoded, or is unknown here
	Stale     Code = 10 // a retry that is older than what the table remembers; it was not applied now
)

func (c Code) String() string {
	names := [...]string{
		"ok", "not found", "exists", "no such cache", "key empty or too long", "value empty or too big",
		"full", "not a number", "refused", "invalid", "stale",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return "unknown code"
}

// Result is what an op came to. It is the same on every node.
type Result struct {
	Code  Code
	IsNum bool          // the item holds a number; after a get, Bytes is that number in decimal
	Num   int64         // the number an item holds, after math
	Bytes []byte        // the bytes an item holds, or what a table answers otherwise
	Left  time.Duration // after a get: how long the item still lives; 0: until it is deleted
}
