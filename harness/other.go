//go:build !linux

package harness

import (
	"context"
	"errors"

	"github.com/simrun/simrun/record"
)

// ErrNoLabs says that labs need the namespaces of Linux, which this system does not have.
var ErrNoLabs = errors.New("labs are made of Linux's namespaces, which this system does not have")

// Reexec does nothing: this system has no lab processes.
func Reexec() {}

// Check returns ErrNoLabs.
func Check(context.Context) error { return ErrNoLabs }

// CheckClock returns ErrNoLabs.
func CheckClock(context.Context) error { return ErrNoLabs }

// CheckPressure returns ErrNoLabs.
func CheckPressure() error { return ErrNoLabs }

// CheckLimits returns ErrNoLabs.
func CheckLimits() error { return ErrNoLabs }

// A Plan cannot be had on this system.
type Plan struct{ none }

// none has the methods of a Plan.
type none interface {
	Header() record.Run
	Skip(done []record.Cell) error
	Run(ctx context.Context, emit func(*record.Cell) error, progress func(Status)) error
}

// NewPlan returns ErrNoLabs.
func NewPlan(context.Context, Options) (*Plan, error) { return nil, ErrNoLabs }

// Shell returns ErrNoLabs.
func Shell(context.Context, Options, []string) (exit int, err error) { return 0, ErrNoLabs }
