//go:build !unix

package main

import "syscall"

// ownGroup does nothing on this system.
func ownGroup() *syscall.SysProcAttr { return nil }
