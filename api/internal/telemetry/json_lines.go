package telemetry

import (
	"context"
	"io"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"
)

// jsonLines writes lines as slog.JSONHandler does. Those of requests, which are nearly all of them,
// have plain fields, and are put together here in a third of the time.
type jsonLines struct {
	slog.Handler // for the rest
	out          *lockedWriter
}

// lockedWriter is what two writers of lines share.
type lockedWriter struct {
	mu  sync.Mutex
	out io.Writer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

func newJSONLines(out io.Writer, level slog.Leveler) slog.Handler {
	to := &lockedWriter{out: out}
	rest := slog.NewJSONHandler(to, &slog.HandlerOptions{Level: level})
	return &jsonLines{rest.WithAttrs([]slog.Attr{slog.String(ServiceName, Service)}), to}
}

// WithAttrs and WithGroup leave all to the library: their fields would have to come first.
func (j *jsonLines) WithAttrs(attrs []slog.Attr) slog.Handler { return j.Handler.WithAttrs(attrs) }

// WithGroup is explained above.
func (j *jsonLines) WithGroup(name string) slog.Handler { return j.Handler.WithGroup(name) }

var lineBuffers = sync.Pool{New: func() any {
	line := make([]byte, 0, 1<<10)
	return &line
}}

// Handle writes a line.
func (j *jsonLines) Handle(ctx context.Context, r slog.Record) error {
	buffer := lineBuffers.Get().(*[]byte)
	defer lineBuffers.Put(buffer)
	line, plain := appendLine((*buffer)[:0], r)
	if cap(line) <= 4<<10 {
		*buffer = line
	}
	if !plain {
		return j.Handler.Handle(ctx, r)
	}
	_, err := j.out.Write(line)
	return err
}

// appendLine reports false where a field is not a plain one.
func appendLine(line []byte, r slog.Record) (_ []byte, plain bool) {
	if r.Time.IsZero() || !plainText(r.Message) {
		return line, false
	}
	line = append(line, `{"`+Time+`":"`...)
	line = r.Time.AppendFormat(line, time.RFC3339Nano)
	line = append(line, `","`+Level+`":"`...)
	line = append(line, r.Level.String()...)
	line = append(line, `","`+Message+`":"`...)
	line = append(line, r.Message...)
	line = append(line, `","`+ServiceName+`":"`+Service+`"`...)
	plain = true
	r.Attrs(func(a slog.Attr) bool {
		line, plain = appendField(line, a)
		return plain
	})
	return append(line, "}\n"...), plain
}

func appendField(line []byte, a slog.Attr) ([]byte, bool) {
	if a.Key == "" || !plainText(a.Key) {
		return line, false
	}
	line = append(append(append(line, `,"`...), a.Key...), `":`...)
	switch a.Value.Kind() {
	case slog.KindString:
		text := a.Value.String()
		line = append(append(append(line, '"'), text...), '"')
		return line, plainText(text)
	case slog.KindInt64:
		return strconv.AppendInt(line, a.Value.Int64(), 10), true
	case slog.KindFloat64:
		number := a.Value.Float64()
		// Others have an exponent, or are no number in JSON.
		plain := number == 0 && !math.Signbit(number) || number >= 1e-6 && number < 1e21
		return strconv.AppendFloat(line, number, 'f', -1, 64), plain
	}
	return line, false
}

// plainText reports whether a text is the same in JSON.
func plainText(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
