//go:build unix

package record

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// lockPatience is for how long a lock may be somebody else's before it is said to be. If a simrun is killed while it
// starts a program, that has a copy of its open files until it runs, and the lock with them.
const lockPatience = time.Second

// lock claims a file for this process, until it is closed: flock(2).
func lock(file *os.File) error {
	for end := time.Now().Add(lockPatience); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return err
		case time.Now().After(end):
			return ErrBusy
		}
	}
}
