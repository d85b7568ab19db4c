//go:build linux

package lab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Pressure says for how long this process was kept from its work since NewPressure: how much of what a cell
// measures is not the network's doing.
type Pressure struct {
	waited map[string]time.Duration // run-queue delay by thread
	memory time.Duration
}

// NewPressure begins to measure.
func NewPressure() *Pressure { return &Pressure{runDelays("self"), memoryStall()} }

// CPU returns how long that thread of this process was ready to run and had no CPU which waited longest. The sum over
// all would be more than anything has taken: they wait at the same time.
func (p *Pressure) CPU() (most time.Duration) {
	for thread, delay := range runDelays("self") {
		most = max(most, delay-p.waited[thread])
	}
	return most
}

// Memory returns for how long some program of this machine waited for memory; 0 if the kernel does not tell.
func (p *Pressure) Memory() time.Duration { return memoryStall() - p.memory }

// RunDelay returns how long the first thread of a process that has ended was ready to run and had no CPU. Nobody may
// have waited for the process yet.
func RunDelay(pid int) (most time.Duration) {
	for _, delay := range runDelays(strconv.Itoa(pid)) {
		most = max(most, delay)
	}
	return most
}

// runDelays reads how long the threads of a process were ready to run and had no CPU: the second field of
// /proc/PID/task/TID/schedstat, in nanoseconds (sched-stats.rst in the kernel's documentation). A kernel without
// CONFIG_SCHED_INFO has no such files.
func runDelays(pid string) map[string]time.Duration {
	delays := map[string]time.Duration{}
	dir, err := os.Open("/proc/" + pid + "/task")
	if err != nil {
		return delays
	}
	defer dir.Close()
	threads, _ := dir.Readdirnames(-1)
	for _, thread := range threads {
		text, err := os.ReadFile(dir.Name() + "/" + thread + "/schedstat")
		if f := bytes.Fields(text); err == nil && len(f) > 1 {
			ns, _ := strconv.ParseInt(string(f[1]), 10, 64)
			delays[thread] = time.Duration(ns)
		}
	}
	return delays
}

// memoryStall returns for how long some program of this machine has waited for memory since the start:
// /proc/pressure/memory, which kernels without PSI lack (psi.rst in the kernel's documentation).
func memoryStall() time.Duration {
	text, _ := os.ReadFile("/proc/pressure/memory")
	for line := range strings.Lines(string(text)) {
		_, total, found := strings.Cut(line, "total=")
		us, err := strconv.ParseInt(strings.TrimSpace(total), 10, 64)
		if found && err == nil && strings.HasPrefix(line, "some ") {
			return time.Duration(us) * time.Microsecond
		}
	}
	return 0
}

// CheckPressure finds out what the kernel tells of pressure. The error says what it does not.
func CheckPressure() error {
	for _, file := range []string{"/proc/self/schedstat", "/proc/pressure/memory"} {
		if _, err := os.ReadFile(file); err != nil {
			return fmt.Errorf("cells that had to wait for a CPU or for memory are not all marked: %w", err)
		}
	}
	return nil
}
