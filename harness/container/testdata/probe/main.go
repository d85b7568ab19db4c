// Command probe says on its standard output what a container lets it do, and then repeats what it reads.
package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
)

// A Report is what the probe saw.
type Report struct {
	Args   []string
	Env    []string
	UID    int
	Status map[string]string // of /proc/self/status
	Addrs  []string          // of network interfaces
	Fails  map[string]string // attempts, and why they failed; "" if they did not
	TUN    string            // the mode of its device
	File   string            // the content of the file that the job brought
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "prepare" {
		for _, mode := range []os.FileMode{0o600, 0o666} { // the first takes rights that only its owner has
			if err := os.Chmod("/dev/net/tun", mode); err != nil {
				panic(err)
			}
		}
		return
	}
	begin := make([]byte, len("go\n"))
	if _, err := io.ReadFull(os.Stdin, begin); err != nil {
		return // nobody is there
	}
	r := Report{Args: os.Args, Env: os.Environ(), UID: os.Getuid(), Status: status(), Fails: map[string]string{}}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		panic(err)
	}
	for _, a := range addrs {
		r.Addrs = append(r.Addrs, a.String())
	}
	content, err := os.ReadFile("/simrun/work/brought/file")
	if err != nil {
		panic(err)
	}
	r.File = string(content)
	info, err := os.Stat("/dev/net/tun")
	if err != nil {
		panic(err)
	}
	r.TUN = info.Mode().Perm().String()
	for name, try := range map[string]func() error{
		"open tun":       func() error { return open("/dev/net/tun", os.O_RDWR) },
		"write root":     func() error { return os.WriteFile("/file", nil, 0o600) },
		"write dir":      func() error { return os.WriteFile("/simrun/work/made", nil, 0o600) },
		"write tmp":      func() error { return os.WriteFile("/tmp/file", nil, 0o600) },
		"open core":      func() error { return open("/proc/sys/kernel/core_pattern", os.O_WRONLY) },
		"open sysrq":     func() error { return open("/proc/sysrq-trigger", os.O_WRONLY) },
		"open keys":      func() error { return open("/proc/kcore", os.O_RDONLY) },
		"reach loopback": func() error { return listen("127.0.0.1:0") },
		"reach world":    dial,
	} {
		r.Fails[name] = ""
		if err := try(); err != nil {
			r.Fails[name] = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		panic(err)
	}
	if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
		panic(err)
	}
	os.Stderr.WriteString(strings.Repeat("last words\n", 20_000))
	os.Exit(7)
}

func status() map[string]string {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		all[name] = strings.TrimSpace(value)
	}
	return all
}

func open(name string, flag int) error {
	f, err := os.OpenFile(name, flag, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

func dial() error {
	conn, err := net.Dial("udp", "192.0.2.1:9") // sends nothing, but needs a route
	if err != nil {
		return err
	}
	return conn.Close()
}
