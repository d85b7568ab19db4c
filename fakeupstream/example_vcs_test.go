package fakeupstream_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/simrun/simrun/fakeupstream"
	"github.com/simrun/simrun/scenarios"
)

// A host of import paths whose repositories are on another host, and that host when it has had enough of its
// client.
func ExampleVCS_Fault() {
	dir, err := os.MkdirTemp("", "repositories-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	repository := filepath.Join(dir, "go.example", "hello.git") // "git init --bare" makes a whole one
	for _, folder := range []string{"objects", "refs"} {
		if err := os.MkdirAll(filepath.Join(repository, folder), 0o755); err != nil {
			log.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(repository, "HEAD"), []byte("ref: refs/heads/main\n"), 0o644); err != nil {
		log.Fatal(err)
	}

	honest := &fakeupstream.VCS{Dir: dir, CodeHosts: map[string]string{"go.example": "code.example"}}
	always := func() bool { return true }
	faulty := honest.Fault(scenarios.VCSFault{Repository: scenarios.RepositoryRateLimited}, "", always)(honest)
	for _, url := range []string{
		"https://go.example/hello?go-get=1",
		"https://code.example/hello.git/info/refs?service=git-upload-pack",
	} {
		w := httptest.NewRecorder()
		faulty.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
		fmt.Printf("%d %.113s\n", w.Code, w.Body)
	}
	// Output:
	// 200 <!DOCTYPE html>
	// <html><head><meta name="go-import" content="go.example/hello git https://code.example/hello.git">
	// 429 Short term bandwidth rate limit exceeded for your address. Please wait, and try again.
}
