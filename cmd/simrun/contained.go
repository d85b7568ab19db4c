package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/simrun/simrun/harness"
	"github.com/simrun/simrun/harness/container"
	"github.com/simrun/simrun/record"
	"github.com/simrun/simrun/scenarios"
)

// containedName is the command that simrun runs in a container.
const containedName = "contained"

// containedResults is the folder of the results there. What is written into it is sent and removed.
const containedResults = container.Work + "/results"

func (a *app) containedCommand() *cobra.Command {
	openTUN := false
	cmd := &cobra.Command{
		Use:    containedName,
		Hidden: true,
		Short:  "Run the cells of a simrun outside, which talks on standard input and output",
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if openTUN {
				// It is the container's own, with the mode of the machine's, where it may be root's alone.
				return os.Chmod("/dev/net/tun", 0o666)
			}
			c := &contained{in: json.NewDecoder(a.in), out: json.NewEncoder(a.out)}
			if err := c.serve(cmd.Context()); err != nil {
				e := blame(err)
				return c.out.Encode(answer{Failed: &failure{e.status, e.Error(), e.hint}})
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&openTUN, "open-tun", false, "let everybody in the container open /dev/net/tun")
	return cmd
}

// A contained is the simrun in a container.
type contained struct {
	in  *json.Decoder
	out *json.Encoder
}

func (c *contained) serve(ctx context.Context) error {
	if err := c.greet(ctx); err != nil {
		return err
	}
	var o order
	if err := c.in.Decode(&o); err != nil || o.Plan == nil {
		return fmt.Errorf("read what is to be run: %w", err)
	}
	plan, err := c.plan(ctx, o.Plan)
	if err != nil {
		return err
	}
	header := plan.Header()
	if err := c.out.Encode(answer{Header: &header}); err != nil {
		return err
	}
	if err := c.in.Decode(&o); err != nil {
		return fmt.Errorf("read which cells are there: %w", err)
	}
	if err := plan.Skip(cellsOf(o.Skip)); err != nil {
		return err
	}
	if err := c.run(ctx, plan); err != nil {
		return err
	}
	return c.out.Encode(answer{Done: true})
}

// greet makes sure that the image has what a run needs.
func (c *contained) greet(ctx context.Context) error {
	var o order
	if err := c.in.Decode(&o); err != nil {
		return fmt.Errorf("read which go commands are wanted: %w", err)
	}
	const hint = "simrun image makes an image that has all"
	if _, err := exec.LookPath("git"); err != nil {
		return &statusError{status: statusInput, err: errors.New("the image has no git"), hint: hint}
	}
	in := input{gos: o.Gos}
	for i, name := range in.gos {
		in.gos[i] = goOfImage(name)
	}
	gos, err := in.findGos(ctx)
	if err != nil {
		return &statusError{status: statusInput, err: fmt.Errorf("look for Go in the image: %w", err), hint: hint}
	}
	if err := harness.Check(ctx); err != nil {
		return &statusError{status: statusHarness, err: fmt.Errorf("no lab can be made in a container of this engine: %w", err),
			hint: "its kernel must let ordinary users make user namespaces; simrun doctor, run on the engine's machine, says what forbids it"}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	h := hello{Simrun: version(), Go: gos}
	for _, a := range addrs {
		h.Addrs = append(h.Addrs, a.String())
	}
	return c.out.Encode(answer{Hello: &h})
}

// goOfImage returns where the image has a release of Go: simrun image puts further ones beside the first. Other
// names stay as they are.
func goOfImage(name string) string {
	file := goRootOfImage(name) + "/bin/go"
	if _, err := os.Stat(file); err != nil {
		return name
	}
	return file
}

func goRootOfImage(release string) string {
	return "/usr/local/go" + strings.TrimPrefix(release, "go")
}

// plan lines the cells up.
func (c *contained) plan(ctx context.Context, o *harness.Options) (*harness.Plan, error) {
	o.CacheDir = container.Work + "/cache"
	if err := os.MkdirAll(o.CacheDir, 0o755); err != nil {
		return nil, err
	}
	if o.Captures != "" {
		o.Captures = filepath.Join(containedResults, "captures")
		if err := os.MkdirAll(o.Captures, 0o755); err != nil {
			return nil, err
		}
	}
	for _, image := range o.Images {
		if err := unpackBrought(image.Root); err != nil {
			return nil, fmt.Errorf("image %s: %w", image.Name, err)
		}
	}
	shareWorlds(o.Scenarios)
	return harness.NewPlan(ctx, *o)
}

// unpackBrought unpacks the archive that lies beside a folder, into that.
func unpackBrought(dir string) error {
	f, err := os.Open(dir + ".tar")
	if err != nil {
		return err
	}
	return errors.Join(harness.UnpackImage(f, dir), f.Close(), os.Remove(f.Name()))
}

// shareWorlds lets scenarios share their worlds again, as files have them: what hosts are made of is made
// once for each.
func shareWorlds(all []*scenarios.Scenario) {
	known := map[string]*scenarios.World{}
	for _, s := range all {
		at := s.World.Name + "\n" + s.World.Pos.String()
		if known[at] == nil {
			known[at] = s.World
		}
		s.World = known[at]
	}
}

func cellsOf(keys []record.Key) []record.Cell {
	cells := make([]record.Cell, len(keys))
	for i, k := range keys {
		cells[i].Key = k
	}
	return cells
}

// run runs the cells. When the one outside is gone, so is standard input, and all ends.
func (c *contained) run(ctx context.Context, plan runner) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		var none order
		_ = c.in.Decode(&none) // nothing more is sent
		cancel()
	}()
	status := func(s harness.Status) { _ = c.out.Encode(answer{Status: &s}) } // if it fails, so does the next cell
	return plan.Run(ctx, func(cell *record.Cell) error {
		if err := c.packets(cell.Capture); err != nil {
			return err
		}
		return c.out.Encode(answer{Cell: cell})
	}, status)
}

// packetsAtOnce is how much of a file is sent in one value, in bytes.
const packetsAtOnce = 1 << 20

// packets sends the file with the packets of a cell, if there is one, and removes it.
func (c *contained) packets(name string) error {
	if name == "" {
		return nil
	}
	path := filepath.Join(containedResults, filepath.FromSlash(name))
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for buf := make([]byte, packetsAtOnce); ; {
		n, err := io.ReadFull(f, buf)
		if n > 0 {
			if err := c.out.Encode(answer{Packet: &chunk{name, buf[:n]}}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
}
