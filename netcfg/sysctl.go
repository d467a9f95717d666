package netcfg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// setting is a value below /proc/sys. The key has slashes, because names of
// interfaces may have dots.
type setting struct{ key, value string }

func (s setting) String() string { return fmt.Sprintf("sysctl %s=%s", s.key, s.value) }

// readSetting gives the value of a key, "" if there is none.
func readSetting(key string) string {
	b, err := os.ReadFile(filepath.Join("/proc/sys", key))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (s setting) write() error {
	if err := os.WriteFile(filepath.Join("/proc/sys", s.key), []byte(s.value), 0o644); err != nil {
		return fmt.Errorf("netcfg: %s: %w; accd needs /proc/sys/net writable (in a container: privileged, or set it on the host)", s, err)
	}
	return nil
}
