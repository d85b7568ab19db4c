package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"sync"
)

// MaxLine is the length in bytes that no line of a results file exceeds, its newline included.
const MaxLine = 16 << 20

// A line is one line of a results file. Exactly one field is set.
type line struct {
	Run  *Run  `json:"run,omitempty"`
	Cell *Cell `json:"cell,omitempty"`
}

// A Writer appends cells to a results file. It may be used concurrently.
type Writer struct {
	mu   sync.Mutex
	file *os.File
	err  error // of the first write that failed: after a torn line nothing may follow
}

// Create makes a new results file at path that begins with run, whose Version it sets.
// It refuses to touch a file that exists.
func Create(path string, run Run) (*Writer, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("results file %q exists already: name another directory with --out: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("create results file: %w", err)
	}
	run.Version = Version
	w := &Writer{file: file}
	err = errors.Join(lock(file), w.append(line{Run: &run}))
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// Resume opens the results file at path, to which cells are added, and returns what it holds. A torn last
// line is cut off. It is an error if the file is of another run than run, see [Run.Difference], or if
// somebody writes it at this moment ([ErrBusy]; not noticed on systems that are not like Unix).
func Resume(path string, run Run) (*Writer, *Results, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("resume: %w", err)
	}
	results, err := resume(file, path, run)
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return &Writer{file: file}, results, nil
}

func resume(file *os.File, path string, run Run) (*Results, error) {
	if err := lock(file); err != nil {
		return nil, err
	}
	results, size, err := read(file, path, sizeOf(file))
	if err != nil {
		return nil, err
	}
	if d := results.Run.Difference(&run); d != "" {
		return nil, fmt.Errorf("%s is of another run: %s", path, d)
	}
	return results, errors.Join(file.Truncate(size), endLine(file, size))
}

// endLine adds the newline that the last line of a file may lack.
func endLine(file *os.File, size int64) error {
	var last [1]byte
	if _, err := file.ReadAt(last[:], size-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err := file.Write([]byte{'\n'})
	return err
}

// ErrBusy says that another process is writing a results file.
var ErrBusy = errors.New("another simrun is writing this run")

// Append writes one cell with one write call, so that it is in the file when Append returns, whatever
// becomes of the process. A cell that cannot be encoded, or is longer than [MaxLine], is refused and the
// file left as it was. Once a write has failed, all further calls fail.
func (w *Writer) Append(c *Cell) error {
	if err := w.append(line{Cell: c}); err != nil {
		return fmt.Errorf("record cell %s/%s/%s/%s/%d: %w", c.Scenario, c.Config, c.Project, c.Go, c.Rep, err)
	}
	return nil
}

func (w *Writer) append(l line) error {
	b, err := encode(l)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = w.write(b)
	}
	return w.err
}

// write writes a line. What has no name any more is lost when it is closed, so that is an error too.
func (w *Writer) write(b []byte) error {
	if _, err := w.file.Write(b); err != nil {
		return err
	}
	ours, err := w.file.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(w.file.Name())
	if err != nil || !os.SameFile(ours, named) {
		return fmt.Errorf("results file %q was moved, removed or replaced while it was being written", w.file.Name())
	}
	return nil
}

// Close closes the file. It returns the error of the first write that failed, if any.
// Cells that are appended later are refused. Close may be called several times.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.err
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	w.err = fmt.Errorf("results file %q: %w", w.file.Name(), fs.ErrClosed)
	return errors.Join(err, w.file.Close())
}

// encode returns l as one line. It leaves "<" and the like as they are: people read these files.
func encode(l line) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if b.Len() > MaxLine {
		return nil, fmt.Errorf("encode: %d bytes are more than the %d that a line may have", b.Len(), MaxLine)
	}
	return b.Bytes(), nil
}

// Results is what a results file holds.
type Results struct {
	Run   Run
	Cells []Cell // in the order in which they ended; of one that was contended and run again, the last
	Torn  int    // number of the last line if it is incomplete, and so left out of Cells; else 0
}

// ReadFile reads the results file at path as [Read] does.
func ReadFile(path string) (*Results, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	defer func() { _ = file.Close() }()
	results, _, err := read(file, path, sizeOf(file))
	return results, err
}

// sizeOf returns the length of a file in bytes, 0 if it is not known.
func sizeOf(file *os.File) int64 {
	info, err := file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// Read reads a results file; name is what errors call it, followed by the line number. It refuses versions
// other than [Version], keys that it does not know, and lines longer than [MaxLine]. A last line without a
// newline that makes no sense is what an interrupted run leaves behind, so no error: see Results.Torn.
func Read(r io.Reader, name string) (*Results, error) {
	results, _, err := read(r, name, 0)
	return results, err
}

// leastCell is the length in bytes that no line of a cell falls short of.
const leastCell = 200

// read also returns how many bytes the complete lines are. From the length of a file it knows how many cells there
// may be: room that grew as they came would take twice as much memory.
func read(r io.Reader, name string, length int64) (results *Results, size int64, err error) {
	in := bufio.NewReader(r)
	results = new(Results)
	places := places{strings: pool{}}
	for n := 1; ; n++ {
		text, err := readLine(in)
		if err != nil && err != io.EOF {
			return nil, 0, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		atEnd := err == io.EOF
		switch {
		case atEnd && len(text) == 0 && n == 1:
			return nil, 0, fmt.Errorf("%s:1: no run line: the file is empty", name)
		case atEnd && len(text) == 0:
			return results, size, nil
		}
		if err := results.add(text, n == 1, &places); err != nil {
			if atEnd && n > 1 {
				results.Torn = n
				return results, size, nil
			}
			return nil, 0, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if n == 1 {
			results.Cells = make([]Cell, 0, max(0, min(int64(results.Run.Cells), length/leastCell)))
		}
		size += int64(len(text))
		if !atEnd {
			size++ // the newline
		}
	}
}

// readLine returns the next line without its newline. The error is [io.EOF] if the line had none.
func readLine(in *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		if len(text) > MaxLine {
			return nil, fmt.Errorf("line is longer than %d bytes", MaxLine)
		}
		if err != bufio.ErrBufferFull {
			return bytes.TrimSuffix(text, []byte("\n")), err
		}
	}
}

// add decodes one line into r.
func (r *Results) add(text []byte, first bool, at *places) error {
	if first {
		if err := checkVersion(text); err != nil {
			return err
		}
	}
	l, err := decode(text)
	switch {
	case err != nil:
		return err
	case (l.Run == nil) == (l.Cell == nil):
		return errors.New(`line has not exactly one of the keys "run" and "cell"`)
	case first != (l.Run != nil):
		return errors.New(`the first line, and no other, must be {"run": ...}`)
	case first:
		r.Run = *l.Run
	default:
		at.put(r, l.Cell)
	}
	return nil
}

// places is where the cells of results are, while they are being read.
type places struct {
	strings pool
	index   map[Key]int // nil until it is needed
}

// put adds a cell to results. One that was run again, because it was contended, takes the place of the one before.
func (p *places) put(r *Results, c *Cell) {
	p.strings.shrink(reflect.ValueOf(c).Elem())
	if len(c.Tries) > 0 && p.index == nil {
		p.index = map[Key]int{}
		for i := range r.Cells {
			p.index[r.Cells[i].Key] = i
		}
	}
	if i, there := p.index[c.Key]; there && len(c.Tries) > 0 {
		r.Cells[i] = *c
		return
	}
	r.Cells = append(r.Cells, *c)
	if p.index != nil {
		p.index[c.Key] = len(r.Cells) - 1
	}
}

// checkVersion looks at the version alone, so that a file of another version is called that, and not
// broken because of a key that is new in it.
func checkVersion(text []byte) error {
	var head struct {
		Run *struct {
			Version *int `json:"version"`
		} `json:"run"`
	}
	switch err := json.Unmarshal(text, &head); {
	case err != nil:
		return fmt.Errorf("decode run line: %w", err)
	case head.Run == nil || head.Run.Version == nil:
		return errors.New(`not a results file: the first line has no "run" with a "version"`)
	case *head.Run.Version != Version:
		return fmt.Errorf("results have version %d: this simrun reads version %d only", *head.Run.Version, Version)
	}
	return nil
}

func decode(text []byte) (line, error) {
	if len(text) == 0 {
		return line{}, errors.New("line is empty")
	}
	var l line
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return line{}, fmt.Errorf("decode line: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return line{}, errors.New("decode line: text after the object")
	}
	return l, nil
}
