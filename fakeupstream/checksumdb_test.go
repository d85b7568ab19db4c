package fakeupstream_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"github.com/simrun/simrun/fakeupstream"
)

func manyModules(n int) []fakeupstream.Module {
	modules := make([]fakeupstream.Module, n)
	for i := range modules {
		modules[i] = fakeupstream.Module{
			Path:     fmt.Sprintf("example.test/m%d", i),
			Version:  "v1.0.0",
			Sum:      fmt.Sprintf("h1:zip%d=", i),
			GoModSum: fmt.Sprintf("h1:mod%d=", i),
		}
	}
	return modules
}

// memoryOps is a client of a handler, without files. It implements sumdb.ClientOps.
type memoryOps struct {
	t       *testing.T
	vkey    string
	handler http.Handler
	latest  []byte
}

func (o *memoryOps) ReadRemote(path string) ([]byte, error) {
	w := httptest.NewRecorder()
	o.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		return nil, fmt.Errorf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.Bytes(), nil
}

func (o *memoryOps) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(o.vkey), nil
	}
	return o.latest, nil
}

func (o *memoryOps) WriteConfig(_ string, _, latest []byte) error {
	o.latest = latest
	return nil
}

func (o *memoryOps) ReadCache(string) ([]byte, error) { return nil, fmt.Errorf("not cached") }
func (o *memoryOps) WriteCache(string, []byte)        {}
func (o *memoryOps) Log(msg string)                   { o.t.Log(msg) }
func (o *memoryOps) SecurityError(msg string)         { o.t.Error(msg) }

// TestChecksumDB asks with the go command's own client, which checks every proof, in a log of more than
// one tile.
func TestChecksumDB(t *testing.T) {
	modules := manyModules(600)
	modules[3].Private = true
	modules[4].Sum, modules[4].GoModSum = "", ""
	skey, vkey := keys(t, "sum.test")
	db, err := fakeupstream.NewChecksumDB("sum.test", skey, modules)
	require.NoError(t, err)
	assert.Equal(t, "sum.test", db.Name())
	client := sumdb.NewClient(&memoryOps{t: t, vkey: vkey, handler: db})
	for _, i := range []int{0, 255, 256, 599} {
		lines, err := client.Lookup(modules[i].Path, "v1.0.0")
		require.NoError(t, err)
		assert.Equal(t, []string{modules[i].Path + " v1.0.0 " + modules[i].Sum}, lines)
	}
	lines, err := client.Lookup(modules[0].Path, "v1.0.0/go.mod")
	require.NoError(t, err)
	assert.Equal(t, []string{"example.test/m0 v1.0.0/go.mod h1:mod0="}, lines)
	for _, i := range []int{3, 4} {
		_, err = client.Lookup(modules[i].Path, "v1.0.0")
		assert.ErrorContains(t, err, "404 not found: "+modules[i].Path+"@v1.0.0")
	}
}

func TestChecksumDBPaths(t *testing.T) {
	skey, _ := keys(t, "sum.test")
	db, err := fakeupstream.NewChecksumDB("sum.test", skey, manyModules(4))
	require.NoError(t, err)
	for path, want := range map[string]int{
		"/latest":                           200,
		"/lookup/example.test/m1@v1.0.0":    200,
		"/lookup/example.test/m1@v2.0.0":    404,
		"/lookup/example.test/m1":           400,
		"/tile/8/0/000.p/4":                 200,
		"/tile/8/0/000.p/5":                 404,
		"/tile/8/0/000":                     404,
		"/tile/8/1/000.p/1":                 404,
		"/tile/8/0/x009/000":                404,
		"/tile/8/data/000.p/4":              200,
		"/tile/8/data/000.p/5":              404,
		"/tile/30/0/000":                    404,
		"/tile/8/8/000.p/1":                 404,
		"/tile/8/0/x999/x999/x999/x999/000": 404,
		"/tile/nonsense":                    400,
		"/supported":                        404,
	} {
		w := httptest.NewRecorder()
		db.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		assert.Equal(t, want, w.Code, "%s: %s", path, w.Body)
	}
}

func TestChecksumDBIsDeterministic(t *testing.T) {
	skey, _ := keys(t, "sum.test")
	latest := func(modules []fakeupstream.Module) []byte {
		db, err := fakeupstream.NewChecksumDB("sum.test", skey, modules)
		require.NoError(t, err)
		w := httptest.NewRecorder()
		db.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/latest", nil))
		return w.Body.Bytes()
	}
	modules := manyModules(10)
	reversed := slices.Clone(modules)
	slices.Reverse(reversed)
	assert.True(t, bytes.Equal(latest(modules), latest(reversed)))
	assert.False(t, bytes.Equal(latest(modules), latest(modules[1:])))
	assert.Equal(t, "example.test/m9", reversed[0].Path, "the caller's slice was sorted")
}

func TestOpenChecksumDB(t *testing.T) {
	signer, _, err := note.GenerateKey(nil, "sum.example")
	require.NoError(t, err)
	modules := []fakeupstream.Module{{Path: "example.com/a", Version: "v1.0.0", Sum: "h1:a", GoModSum: "h1:b"}}
	made, err := fakeupstream.NewChecksumDB("sum.example", signer, modules)
	require.NoError(t, err)

	opened, err := fakeupstream.OpenChecksumDB("sum.example", made.SignedTree(), modules)
	require.NoError(t, err)
	assert.Equal(t, made.SignedTree(), opened.SignedTree())

	_, err = fakeupstream.OpenChecksumDB("sum.example", made.SignedTree(), nil)
	assert.ErrorContains(t, err, "of other modules")
}

func TestNewChecksumDBRefuses(t *testing.T) {
	skey, _ := keys(t, "sum.test")
	_, err := fakeupstream.NewChecksumDB("sum.test", "nonsense", nil)
	assert.ErrorContains(t, err, `signer key of checksum database "sum.test"`)
	_, err = fakeupstream.NewChecksumDB("other.test", skey, nil)
	assert.ErrorContains(t, err, `is for "sum.test"`)
	m := manyModules(1)[0]
	_, err = fakeupstream.NewChecksumDB("sum.test", skey, []fakeupstream.Module{m, m})
	assert.ErrorContains(t, err, "example.test/m0@v1.0.0 is there twice")
}

func BenchmarkNewChecksumDB(b *testing.B) {
	for _, n := range []int{4, 400} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			skey, _, err := note.GenerateKey(nil, "sum.test")
			require.NoError(b, err)
			modules := manyModules(n)
			for b.Loop() {
				if _, err := fakeupstream.NewChecksumDB("sum.test", skey, modules); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
