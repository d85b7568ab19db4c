package scenarios

import (
	"fmt"
	"reflect"
	"strings"
)

// String returns the fault as one line in the words of the language, such as
// "goproxy.cn packet loss=100% from=5s".
func (f *Fault) String() string {
	var w words
	if f.Target.Pattern != "" {
		w = append(w, f.Target.Pattern)
	}
	w = append(w, f.Layer())
	switch {
	case f.Packet != nil:
		f.Packet.describe(&w)
	case f.Stream != nil:
		f.Stream.describe(&w)
	case f.DNS != nil:
		f.DNS.describe(&w)
	case f.TLS != nil:
		f.TLS.describe(&w)
	case f.HTTP != nil:
		f.HTTP.describe(&w)
	case f.VCS != nil:
		f.VCS.describe(&w)
	case f.Forward != nil:
		f.Forward.describe(&w)
	case f.Module != nil:
		f.Module.describe(&w)
	case f.SumDB != nil:
		f.SumDB.describe(&w)
	case f.Client != nil:
		f.Client.describe(&w)
	}
	w.add("from", f.From)
	w.add("until", f.Until)
	w.add("every", f.Every)
	w.add("for", f.For)
	w.add("first", f.First)
	w.add("nth", f.Nth)
	w.add("share", f.Share)
	return strings.Join(w, " ")
}

// words are the parts of a description.
type words []string

// set adds key=value.
func (w *words) set(key string, value any) { *w = append(*w, fmt.Sprintf("%s=%v", key, value)) }

// add adds key=value unless the value is zero, which means that the file does not say.
func (w *words) add(key string, value any) {
	if !reflect.ValueOf(value).IsZero() {
		w.set(key, value)
	}
}

// String returns the amount as a file has it.
func (a *Amount) String() string {
	if a.Share != 0 {
		return a.Share.String()
	}
	return fmt.Sprintf("%dB", a.Bytes)
}
