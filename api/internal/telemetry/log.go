package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Format is how log lines are written.
type Format string

// One JSON object a line, text for people, or whichever suits where the log goes.
const (
	Auto   Format = "auto"
	JSON   Format = "json"
	Pretty Format = "pretty"
)

// Formats are all of them.
var Formats = []Format{Auto, JSON, Pretty}

// NewLogger writes to out what level lets through.
func NewLogger(out io.Writer, format Format, level slog.Leveler) *slog.Logger {
	if format == Pretty || format == Auto && isTerminal(out) {
		return slog.New(newPretty(out, level))
	}
	return slog.New(newJSONLines(out, level))
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	about, err := file.Stat()
	return err == nil && about.Mode()&os.ModeCharDevice != 0
}

// pretty puts time, level and message first, as they are, and leaves the fields to the library,
// which quotes what has to be quoted.
type pretty struct {
	fields slog.Handler
	*prettyOut
}

type prettyOut struct {
	sync.Mutex
	out  io.Writer
	line bytes.Buffer
}

func newPretty(out io.Writer, level slog.Leveler) slog.Handler {
	to := &prettyOut{out: out}
	return &pretty{prettyOut: to, fields: slog.NewTextHandler(&to.line, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == Time || a.Key == Level || a.Key == Message) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

func (p *pretty) Enabled(ctx context.Context, level slog.Level) bool {
	return p.fields.Enabled(ctx, level)
}

func (p *pretty) Handle(ctx context.Context, r slog.Record) error {
	p.Lock()
	defer p.Unlock()
	p.line.Reset()
	// A library's message may contain external input, which must not control the terminal.
	plain := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, r.Message)
	fmt.Fprintf(&p.line, "%s %5s %s ", r.Time.UTC().Format(time.RFC3339Nano), r.Level, plain)
	if err := p.fields.Handle(ctx, r); err != nil {
		return err
	}
	_, err := p.out.Write(p.line.Bytes())
	return err
}

func (p *pretty) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &pretty{p.fields.WithAttrs(attrs), p.prettyOut}
}

func (p *pretty) WithGroup(name string) slog.Handler {
	return &pretty{p.fields.WithGroup(name), p.prettyOut}
}
