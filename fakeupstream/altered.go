package fakeupstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/simrun/simrun/scenarios"
)

// AlteredGit returns a directory for VCS.Dir with the repositories of a generated universe as a fault wants
// them, of those modules that the fault is about. It makes them when they are first asked for, in the
// universe's directory: the same fault always has the same bytes. A universe without repositories has no
// altered ones, and the directory is empty.
//
// With Tags, each version's commit has other files than the module proxies know, or no tag. With Ballast, it
// has data in a nested module, which a client has to fetch and does not use: the hashes of the module stay.
func (u *Universe) AlteredGit(ctx context.Context, f *scenarios.VCSFault) (string, error) {
	if u.Git == "" || u.Dir == "" {
		return "", nil
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%q %q %d", f.Module, f.Tags, f.Ballast))
	dir := filepath.Join(u.Dir, fmt.Sprintf("%s-%x", gitDir, id[:8]))
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	m, err := readManifest(u.Dir)
	if err != nil {
		return "", fmt.Errorf("alter the repositories of %q: %w", u.Dir, err)
	}
	err = whole(dir, func(tmp string) error {
		for _, s := range plan(m.Spec, m.Hosts) {
			if !f.Concerns(s.path) {
				continue
			}
			if err := writeAltered(ctx, tmp, m.Spec, s, f); err != nil {
				return fmt.Errorf("write the repository of %s: %w", s.path, err)
			}
		}
		return nil
	})
	if _, missing := os.Stat(dir); missing == nil {
		return dir, nil // another call may have been faster
	}
	return dir, err
}

func writeAltered(ctx context.Context, dir string, spec scenarios.Modules, s source, f *scenarios.VCSFault) (err error) {
	repo, err := createRepository(ctx, dir, s.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	for i := range spec.Versions {
		r, err := s.release(spec, i)
		if err != nil {
			return err
		}
		if err := repo.Commit(alter(r, f)); err != nil {
			return err
		}
		if f.Tags != scenarios.TagsMissing {
			repo.Tag(r)
		}
	}
	return nil
}

// movedText is what a moved tag's LICENSE has in addition.
const movedText = "This tag was moved.\n"

// alter returns a release with other files.
func alter(r release, f *scenarios.VCSFault) release {
	if f.Tags == scenarios.TagsMoved {
		r.files[0].data = append(r.files[0].data, movedText...)
	}
	if f.Ballast > 0 {
		r.files = append(r.files,
			memFile{"ballast/go.mod", fmt.Appendf(nil, "module %s/ballast\n", r.Path)},
			memFile{"ballast/data.bin", randomBytes(int64(f.Ballast), "ballast of "+r.Path)})
	}
	return r
}

// randomBytes returns n bytes that do not compress, the same ones for the same seed.
func randomBytes(n int64, seed string) []byte {
	data := make([]byte, n)
	rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(data)
	return data
}
