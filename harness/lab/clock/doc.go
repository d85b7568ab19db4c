//go:build linux

// Package clock lets the clock of a cell jump over the time in which nothing can happen, for unmodified
// programs.
//
// A program reads the time from the vDSO, which the kernel maps into every process (vdso(7)). As each program of
// the cell begins, functions of ours are written beside those of its vDSO and take their names: they call the
// kernel's and add an offset. The offset lies beside them, in the process's own memory. On the client host, the time
// of day may be a wrong one. A filter of seccomp(2) reports each execve to the [Keeper], in the process that
// started the cell; the keeper traces the thread until the new program is there (ptrace(2),
// PTRACE_O_TRACEEXEC), writes the code, and lets go of it. Nothing is traced while it runs. A program that
// asks the kernel for the time itself is reported by the same filter, and the keeper answers. So are timers that
// live in the kernel and cannot be moved: then the keeper gives up.
//
// The keeper looks at all threads of the cell from outside (proc_pid_syscall(5)). If each of them waits, and each
// has waited since the look before, then there was a moment in which all did. Nothing can happen then but by
// the next time limit of one of the waits, by the next packet that the link delays, by the kernel's own TCP
// timers, or from outside. The lab process shows on its [Board] what the link knows of packets and
// connections. While a retransmission or a delayed acknowledgment could change anything, the clock runs as
// the real one does. Else the keeper adds the time up to the next limit to every offset, stops each thread
// whose limit has come inside its system call, and lets that return as it does at its limit.
//
// Whatever the keeper does not understand makes it give up with an error: the cell has to be run again with the
// real clock. It never shows a wrong time instead.
package clock
