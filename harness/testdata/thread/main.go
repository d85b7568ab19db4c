// Command thread becomes sleep(1) from a thread that is not its first.
package main

import (
	"os"
	"runtime"
	"syscall"
)

func main() {
	runtime.LockOSThread() // the first thread is taken
	go func() {
		panic(syscall.Exec("/bin/sleep", append([]string{"sleep"}, os.Args[1:]...), os.Environ()))
	}()
	select {}
}
