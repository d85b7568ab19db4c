//go:build linux

package harness

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// clientHostChecks look at what is wrong with the client host: with the tools of its own shell, but for the clock.
func (t *town) clientHostChecks(f *scenarios.ClientFault) (all []check, err error) {
	if f.Clock != 0 {
		if all, err = t.clientChecks(f); err != nil {
			return nil, err
		}
	}
	if f.Cache != "" {
		c, err := t.cacheCheck(f.Cache)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if f.Missing != "" {
		all = append(all, shellCheck("missing", fmt.Sprintf("%s --version", f.Missing), fmt.Sprintf("%s: not found", f.Missing)))
	}
	if f.Disk > 0 {
		kib := int64(f.Disk)>>10 + 64 // more than all that lies there already rounds up to
		fill := fmt.Sprintf("mkdir -p $GOMODCACHE && dd if=/dev/zero of=$GOMODCACHE/fill bs=1024 count=%d; e=$?; rm -f $GOMODCACHE/fill; exit $e", kib)
		all = append(all, shellCheck("disk", fill, "No space left on device"))
	}
	return all, nil
}

// cacheCheck looks at the module cache.
func (t *town) cacheCheck(f scenarios.CacheFault) (check, error) {
	switch f {
	case scenarios.CacheReadOnly:
		return shellCheck("read-only", "mkdir -p $GOMODCACHE && touch $GOMODCACHE/probe", "Read-only file system"), nil
	case scenarios.CacheNoLocks:
		return shellCheck("no-locks", "mkdir -p $GOMODCACHE && flock -x $GOMODCACHE/probe.lock true", "No locks available"), nil
	}
	m, err := aModule(&fakeupstream.Universe{Modules: t.modules})
	if err != nil {
		return check{}, err
	}
	ext := map[scenarios.CacheFault]string{scenarios.CacheTampered: ".zip", scenarios.CacheGarbledMod: ".mod",
		scenarios.CacheEmptySum: ".ziphash", scenarios.CacheGarbledSum: ".ziphash"}[f]
	name, err := cacheFile(m.Path, m.Version, ext)
	if err != nil {
		return check{}, err
	}
	ours, hash := filepath.Join(downloadCache, name), filepath.Join(downloadCache, strings.TrimSuffix(name, ext)+".ziphash")
	compare := fmt.Sprintf("test ! -e %[1]s || { cat %[3]s; cmp %[1]s %[2]s; }", ours, filepath.Join(proxyTree, name), hash)
	differs := "differ"
	if f == scenarios.CacheEmptySum {
		differs = "EOF on"
	}
	return shellCheck(string(f), compare, differs), nil
}

// shellCheck is a check of which the fault makes the command fail, with these words.
func shellCheck(about, command, words string) check {
	return check{about: about, probe: probe{Shell: command, Limit: enough, Times: 1}, shows: func(s sighting) bool {
		return strings.Contains(s.Err, words)
	}}
}

// TestWarmCacheNeedsNoNetwork runs a config with a warm module cache, and one with a cold one, where no host can be
// reached.
func TestWarmCacheNeedsNoNetwork(t *testing.T) {
	t.Parallel()
	cells := runSettings(t, []Setting{
		{ID: "warm", Project: "three", Cache: "warm", Env: map[string]string{"GOPROXY": "https://a.test", "GOSUMDB": "off"}, Faults: noHosts},
		{ID: "cold", Project: "three", Env: map[string]string{"GOPROXY": "https://a.test", "GOSUMDB": "off"}, Faults: noHosts},
	})
	warm, cold := cells["warm"], cells["cold"]
	assert.Equal(t, record.OK, warm.Outcome, "%s%s", warm.Note, warm.Stderr)
	assert.Empty(t, warm.Conns)
	assert.Len(t, warm.Modules, 3)
	for _, m := range warm.Modules {
		assert.True(t, m.Good && m.Before, "%s@%s", m.Path, m.Version)
	}
	assert.Equal(t, record.Error, cold.Outcome, "%s", cold.Note)
	assert.Empty(t, cold.Modules)
}

var noHosts = []map[string]any{{"host": "*", "packet": map[string]any{"reject": "rst"}}}
