package scenarios

import (
	"fmt"
	"slices"
)

// A Library is what Load read, all of it checked. The slices are in the order of the files.
type Library struct {
	Worlds    []*World
	Scenarios []*Scenario
	Configs   []*Config
	Projects  []*Project
	Files     []string // that were read, those of the built-in library as "builtin/..."
}

// ScenariosNamed returns the scenarios whose names match any of the patterns (see Glob), in the
// library's order; no pattern selects all. A pattern that matches none is an error, which names the
// nearest name. It may be called concurrently.
func (l *Library) ScenariosNamed(patterns ...string) ([]*Scenario, error) {
	return named("scenario", l.Scenarios, func(s *Scenario) string { return s.Name }, patterns)
}

// ConfigsNamed is ScenariosNamed for configs.
func (l *Library) ConfigsNamed(patterns ...string) ([]*Config, error) {
	return named("config", l.Configs, func(c *Config) string { return c.Name }, patterns)
}

// ProjectsNamed is ScenariosNamed for projects.
func (l *Library) ProjectsNamed(patterns ...string) ([]*Project, error) {
	return named("project", l.Projects, func(p *Project) string { return p.Name }, patterns)
}

func named[T any](what string, all []T, name func(T) string, patterns []string) ([]T, error) {
	if len(patterns) == 0 {
		return all, nil
	}
	names := namesOf(all, name)
	chosen := make([]bool, len(all))
	for _, pattern := range patterns {
		found := false
		for i, n := range names {
			if Glob(pattern, n) {
				chosen[i], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("no %s is called %s%s", what, quote(pattern), suggest(pattern, names))
		}
	}
	var picked []T
	for i := range all {
		if chosen[i] {
			picked = append(picked, all[i])
		}
	}
	return slices.Clip(picked), nil
}

func namesOf[T any](all []T, name func(T) string) []string {
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = name(v)
	}
	return names
}
