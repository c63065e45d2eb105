package legion

import (
	"encoding/hex"
	"fmt"
)

// rawID is a node's uuid as announcements carry it. All zero is nobody.
type rawID [16]byte

// parseID reads the usual text of a uuid: 36 characters, lower case.
func parseID(text string) (id rawID, err error) {
	if len(text) == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-' {
		plain := text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
		if _, err := hex.Decode(id[:], []byte(plain)); err == nil && id.String() == text {
			return id, nil
		}
	}
	return rawID{}, fmt.Errorf("legion: %q is not a uuid", text)
}

// String is the text of the uuid, empty for nobody.
func (id rawID) String() string {
	if id == (rawID{}) {
		return ""
	}
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
