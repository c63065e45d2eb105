package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIdentityStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "n1")
	var id string
	boots := map[uint64]bool{}
	for start := 1; start <= 5; start++ {
		i, err := OpenIdentity(dir)
		if err != nil {
			t.Fatal(err)
		}
		if id == "" {
			id = i.ID
		}
		if i.ID != id || !isUUID(id) || i.Counter != uint32(start) || boots[i.Boot()] || i.Boot()>>32 != uint64(start) {
			t.Errorf("start %d: %+v, want id %s and the boot counted", start, i, id)
		}
		boots[i.Boot()] = true
		if want := map[bool]string{true: "blue"}[start > 2]; i.ClusterID != want {
			t.Errorf("start %d: cluster id %q, want %q", start, i.ClusterID, want)
		}
		if start == 2 {
			if err := i.SetClusterID("blue"); err != nil {
				t.Fatal(err)
			}
		}
		if start == 3 {
			if err := i.SetClusterID("blue"); err != nil {
				t.Errorf("the same cluster id again: %v", err)
			}
			if err := i.SetClusterID("red"); err == nil || i.ClusterID != "blue" {
				t.Errorf("SetClusterID of another = %v, id now %q; want it refused", err, i.ClusterID)
			}
		}
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, %v; want 0700", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Join(dir, identityFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the identity has mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestIdentityRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, dir string)
		want    string // part of the error
	}{
		"in use": {func(t *testing.T, dir string) {
			i, err := OpenIdentity(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { i.Close() })
		}, "in use by another cohort (pid "},
		"damaged": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, identityFile), "id = nonsense\nboot = 3\n")
		}, "is damaged"},
		"empty": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, identityFile), "")
		}, "is damaged"},
		"no number": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, identityFile), "id = "+newUUID()+"\nboot = x\n")
		}, "is damaged"},
		"worn out": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, identityFile), "id = "+newUUID()+"\nboot = 4294967295\n")
		}, "4 billion"},
		"shared by many": {func(t *testing.T, dir string) {
			if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
				t.Fatal(err)
			}
		}, "a directory of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tt.prepare(t, dir)
			i, err := OpenIdentity(dir)
			if err == nil {
				i.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("OpenIdentity = %v, want an error with %q and the directory", err, tt.want)
			}
		})
	}
}

// A half-written new file beside the old one, as a crash leaves it, changes nothing.
func TestIdentityAfterACrash(t *testing.T) {
	dir := t.TempDir()
	i, err := OpenIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	i.Close()
	write(t, filepath.Join(dir, identityFile+".new"), "id = ")
	again, err := OpenIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.ID != i.ID || again.Counter != 2 {
		t.Errorf("OpenIdentity = %+v, want id %s at its second start", again, i.ID)
	}
}

func TestIdentityInMemory(t *testing.T) {
	a, b := NewIdentity("", 3), NewIdentity("", 3)
	if a.ID == b.ID || !isUUID(a.ID) || a.Boot()>>32 != 3 {
		t.Errorf("NewIdentity twice = %+v and %+v", a, b)
	}
	if err := a.SetClusterID("two words"); err == nil {
		t.Error("SetClusterID of nonsense: want an error")
	}
	if err := a.SetClusterID("blue"); err != nil || a.ClusterID != "blue" {
		t.Errorf("SetClusterID = %v, id %q", err, a.ClusterID)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
