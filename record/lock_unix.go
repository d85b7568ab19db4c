//go:build unix

package record

import (
	"errors"
	"os"
	"syscall"
)

// lock claims a file for this process, until it is closed: flock(2).
func lock(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrBusy
	}
	return err
}
