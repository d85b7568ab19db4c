//go:build unix

package main

import "syscall"

// ownGroup keeps signals that are for all processes of a terminal's job from a process.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
