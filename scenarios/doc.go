// Package scenarios is the language of simrun: worlds, scenarios, configs and projects, written in
// YAML, and the library of ready ones that lies beside this file, by layer.
//
// Everything here is declared state: plain data that is read from files, checked, and never changed
// afterwards. What runs is elsewhere.
package scenarios
