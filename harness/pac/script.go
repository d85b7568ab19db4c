// Package pac is the agent that people run for programs which know no proxy auto-configuration: an HTTP proxy on
// the client host that asks a script, in the form that Netscape defined, which way to take to each host, and tries
// the ways that the script returns.
package pac

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/metrics"
	"strings"
	"sync"
	"time"

	"github.com/dlclark/regexp2/v2"
	"github.com/dop251/goja"

	"github.com/simrun/simrun/scenarios"
)

// Limits of a script: it comes from somebody else. What reaches one fails, and the agent goes on without it.
const (
	MaxTime   = 5 * time.Second // of one evaluation, with the names that it looks up
	MaxMemory = 64 << 20        // bytes that an evaluation adds to the heap
	maxCalls  = 512             // that are open at once
	maxMatch  = MaxTime / 2     // of one regular expression, which the interpreter cannot end; then nothing matches
	maxDepth  = 1000            // of brackets in brackets, which the parser takes one call for each
)

// The errors of a script that reaches a limit.
var (
	ErrTime   = fmt.Errorf("the script takes longer than %v", MaxTime)
	ErrCalls  = fmt.Errorf("the script has more than %d calls open at once", maxCalls)
	ErrMemory = fmt.Errorf("the script takes more than %d MiB of memory", MaxMemory>>20)
)

// A Host is the machine that a script finds itself on. Its functions may be called by many goroutines at once.
type Host struct {
	Lookup    func(ctx context.Context, name string) ([]netip.Addr, error)
	Addresses func() []netip.Addr // its own, the one that it is known by first
	Now       func() time.Time
	Alert     func(text string) // what the script has to say
}

// A Script is FindProxyForURL. It may be used concurrently; evaluations take place one after the other.
type Script struct {
	mu   sync.Mutex
	vm   *goja.Runtime
	find goja.Callable
	host Host
	ctx  context.Context // of the evaluation under way
	lost error           // why the script cannot be asked any more; nil: it can
}

// Compile reads a script and runs what is outside its functions. The error says in which line it is wrong.
func Compile(ctx context.Context, text string, host Host) (*Script, error) {
	if len(text) > scenarios.MaxPACScript {
		return nil, fmt.Errorf("the script has %d bytes; at most %d are evaluated", len(text), scenarios.MaxPACScript)
	}
	if nested(text) > maxDepth {
		return nil, fmt.Errorf("the script has more than %d brackets in brackets", maxDepth)
	}
	limitMatches()
	s := &Script{vm: goja.New(), host: host}
	s.vm.SetMaxCallStackSize(maxCalls)
	if err := s.define(); err != nil {
		return nil, err
	}
	if err := s.bounded(ctx, func() error { return s.load(text) }); err != nil {
		return nil, err
	}
	return s, nil
}

// limitMatches sets maxMatch, which holds for all of this process.
var limitMatches = sync.OnceFunc(func() { regexp2.DefaultMatchTimeout = maxMatch })

func (s *Script) load(text string) error {
	program, err := goja.Compile("proxy.pac", text, false)
	if err != nil {
		return fmt.Errorf("compile the script: %w", err)
	}
	if _, err := s.vm.RunProgram(program); err != nil {
		return fmt.Errorf("run the script: %w", err)
	}
	var ok bool
	if s.find, ok = goja.AssertFunction(s.vm.Get("FindProxyForURL")); !ok {
		return errors.New("the script has no function FindProxyForURL")
	}
	return nil
}

// nested returns how deep brackets are in brackets, those in texts and comments included.
func nested(text string) (deepest int) {
	depth := 0
	for _, r := range text {
		switch r {
		case '(', '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ')', ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return deepest
}

// Find asks the script for the ways to a host. An error is that it threw, returned no text, or reached a limit.
func (s *Script) Find(ctx context.Context, url, host string) (result string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.bounded(ctx, func() error {
		v, err := s.find(goja.Undefined(), s.vm.ToValue(url), s.vm.ToValue(host))
		if err != nil {
			return err
		}
		text, ok := v.Export().(string)
		if !ok {
			return fmt.Errorf("FindProxyForURL returned %s and no text", describe(v))
		}
		result = text
		return nil
	})
	return result, err
}

// describe names a value without asking the script, whose toString could do anything.
func describe(v goja.Value) string {
	if goja.IsUndefined(v) || goja.IsNull(v) {
		return v.String()
	}
	return "a value of the type " + strings.TrimPrefix(fmt.Sprintf("%T", v.Export()), "*")
}

// bounded runs a part of the script within the limits. The interpreter looks for interruptions between its own
// steps only; a single step that goes on and on, such as a regular expression that tries all ways, is left to
// itself, and the script is not asked again.
func (s *Script) bounded(ctx context.Context, run func() error) error {
	if s.lost != nil {
		return s.lost
	}
	ctx, cancel := context.WithTimeoutCause(ctx, MaxTime, ErrTime)
	defer cancel()
	s.ctx = ctx
	done := make(chan error, 1)
	go func() { done <- s.caught(run) }()
	err := s.watch(ctx, done)
	s.vm.ClearInterrupt()
	if err == nil && ctx.Err() != nil {
		return context.Cause(ctx) // a lookup was cut short, and the script went on without its answer
	}
	return err
}

// caught runs a part of the script. The interpreter panics where it has an error of its own.
func (s *Script) caught(run func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the script broke the interpreter: %v", r)
		}
	}()
	err = run()
	if deep := new(goja.StackOverflowError); errors.As(err, &deep) {
		return ErrCalls
	}
	return err
}

// watch waits for the end of the script, and brings it about when the script reaches a limit.
func (s *Script) watch(ctx context.Context, done <-chan error) error {
	const often = 5 * time.Millisecond
	before := heap()
	tick := time.NewTicker(often)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return s.interrupt(context.Cause(ctx), done)
		case <-tick.C:
			if now := heap(); now > before && now-before > MaxMemory {
				return s.interrupt(ErrMemory, done)
			}
		}
	}
}

// interrupt ends the script, or loses it.
func (s *Script) interrupt(why error, done <-chan error) error {
	const grace = 500 * time.Millisecond
	s.vm.Interrupt(why)
	select {
	case <-done:
	case <-time.After(grace):
		s.lost = why
	}
	return why
}

// heap returns how many bytes objects take, dead ones included that have not been collected.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
