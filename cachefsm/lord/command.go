package lord

import (
	"github.com/cohortd/cohort/cachefsm/op"
)

// Kinds of commands. The numbers are in the log and are never reused.
const (
	kindGrant    = 1
	kindRenew    = 2
	kindHandover = 3
	kindRevoke   = 4
	kindRelease  = 5
	kindExpire   = 6
	kindEra      = 7
	kindQuery    = 64 // read, not in the log
)

// Renewal is one legion's part of a Renew.
type Renewal struct {
	Legion     string
	Epoch, Seq uint64
}

// Grant offers a vacant legion to a boot of a node (R1). seenVac is the VacIndex that whoever grants looked at: a grant
// of an older vacancy changes nothing. The result's Num is the epoch.
func Grant(legion, node string, boot, seenVac uint64, n Numbers) []byte {
	b := op.Bytes(op.Bytes(command(kindGrant), legion), node)
	b = op.Uvarint(op.Uvarint(b, boot), seenVac)
	return putNumbers(b, n)
}

// Renew keeps the epochs that a boot of a node holds (R2). Answers tells what came of each.
func Renew(node string, boot uint64, renewals ...Renewal) []byte {
	b := op.Uvarint(op.Bytes(command(kindRenew), node), boot)
	b = op.Uvarint(b, uint64(len(renewals)))
	for _, r := range renewals {
		b = op.Uvarint(op.Uvarint(op.Bytes(b, r.Legion), r.Epoch), r.Seq)
	}
	return b
}

// Answers are the codes of each renewal, in their order; nil if the command itself was not understood.
func Answers(r op.Result) []op.Code {
	codes := make([]op.Code, len(r.Bytes))
	for i, c := range r.Bytes {
		codes[i] = op.Code(c)
	}
	return codes
}

// Handover asks the holder to stop and make place (R3a).
func Handover(legion string, epoch uint64, to string) []byte {
	return op.Bytes(op.Uvarint(op.Bytes(command(kindHandover), legion), epoch), to)
}

// Revoke ends the renewals of a holder that was asked to stop and does not come to an end (R3b).
func Revoke(legion string, epoch uint64) []byte {
	return op.Uvarint(op.Bytes(command(kindRevoke), legion), epoch)
}

// Release makes a legion vacant: everything of this epoch is gone (R3c). Only the holder, its guardian's ticket, or a later
// boot of the same node that swept may send it.
func Release(legion string, epoch, boot uint64, reason Reason) []byte {
	b := op.Uvarint(op.Uvarint(op.Bytes(command(kindRelease), legion), epoch), boot)
	return append(b, byte(reason))
}

// Expire makes a legion vacant whose lease ran out (R3d). seenRenew is the RenewIndex whose lease that is.
func Expire(legion string, epoch, seenRenew uint64) []byte {
	return op.Uvarint(op.Uvarint(op.Bytes(command(kindExpire), legion), epoch), seenRenew)
}

// Era begins a new era (R28). It is the first entry after a log was recovered from a lost quorum or restored from a
// backup: log indexes may repeat after that, epochs may not. minutes are those since 2024, so that two restores of one
// backup differ. Whatever was held is revoked: a later lord may have lived in the entries that were lost.
func Era(minutes uint64) []byte {
	return op.Uvarint(command(kindEra), minutes)
}

// Query reads a legion's state; DecodeState reads the answer.
func Query(legion string) []byte { return op.Bytes(command(kindQuery), legion) }

func command(kind byte) []byte {
	return append(make([]byte, 0, 128), version, kind)
}
