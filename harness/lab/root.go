// Package lab makes the network of one cell: a process in namespaces of its own, the client host, and the packet and
// stream links between it and the hosts of an internet. All of it but Root needs Linux.
package lab

// Root is the folder of the cell inside a lab process: a file system in memory that exists in the cell's
// mount namespace only, so that nothing of it is left however the cell ends.
const Root = "/run/simrun"
