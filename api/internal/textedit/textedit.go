// Package textedit changes one place of a text, so that a caller need not send all of it.
package textedit

import (
	"fmt"
	"slices"
	"strings"
)

// Operations that Apply knows.
const (
	Append         = "append"          // a line at the end
	Prepend        = "prepend"         // a line at the beginning
	Replace        = "replace"         // what is found
	InsertAfter    = "insert_after"    // directly after what is found
	ReplaceSection = "replace_section" // what stands below a Markdown heading
)

// Operations are all of them.
var Operations = []string{Append, Prepend, Replace, InsertAfter, ReplaceSection}

// Edit is one change.
type Edit struct {
	Operation string
	Text      string
	Find      string // for replace and insert_after
	Heading   string // for replace_section, without its number signs
}

// PlaceError says that the place of an edit is missing, or there more than once.
type PlaceError struct {
	Argument string // "find" or "heading"
	Count    int
}

func (e *PlaceError) Error() string {
	if e.Count == 0 {
		return e.Argument + " is not in the text"
	}
	return fmt.Sprintf("%s is %d times in the text: it must name one place", e.Argument, e.Count)
}

// Apply makes an edit. Line ends that it adds are those of the text.
func (e Edit) Apply(text string) (string, error) {
	switch e.Operation {
	case Append:
		return joined(text, e.Text, lineEnd(text)), nil
	case Prepend:
		return joined(e.Text, text, lineEnd(text)), nil
	case Replace, InsertAfter:
		at, err := place(text, e.Find)
		if err != nil {
			return "", err
		}
		end := at + len(e.Find)
		if e.Operation == InsertAfter {
			at = end
		}
		return text[:at] + e.Text + text[end:], nil
	case ReplaceSection:
		from, to, err := section(text, e.Heading)
		if err != nil {
			return "", err
		}
		body := e.Text
		if body != "" && to < len(text) && !strings.HasSuffix(body, "\n") {
			body += lineEnd(text)
		}
		if from > 0 && text[from-1] != '\n' && body != "" {
			body = lineEnd(text) + body // the heading is the last line, and has no end
		}
		return text[:from] + body + text[to:], nil
	}
	return "", fmt.Errorf("unknown operation %q", e.Operation)
}

// joined puts two texts together, with a line end between them unless one is there.
func joined(first, second, end string) string {
	if first == "" || second == "" || strings.HasSuffix(first, "\n") {
		return first + second
	}
	return first + end + second
}

func lineEnd(text string) string {
	if at := strings.IndexByte(text, '\n'); at > 0 && text[at-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// place is where a text has what is looked for, if it has it once. Places that overlap count.
func place(text, find string) (int, error) {
	at, count := -1, 0
	for from := 0; find != ""; {
		n := strings.Index(text[from:], find)
		if n < 0 {
			break
		}
		if count++; count == 1 {
			at = from + n
		}
		from += n + 1
	}
	if count != 1 {
		return 0, &PlaceError{"find", count}
	}
	return at, nil
}

// section is what stands below a heading, up to the next one of the same level or a higher one.
func section(text, heading string) (from, to int, err error) {
	wanted := strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(heading), "#"))
	found := headings(text)
	count, level := 0, 0
	for n, h := range found {
		if h.title != wanted {
			continue
		}
		if count++; count > 1 {
			continue
		}
		level, from, to = h.level, h.end, len(text)
		if next := slices.IndexFunc(
			found[n+1:],
			func(o headingLine) bool { return o.level <= level },
		); next >= 0 {
			to = found[n+1+next].start
		}
	}
	if count != 1 {
		return 0, 0, &PlaceError{"heading", count}
	}
	return from, to, nil
}

type headingLine struct {
	level      int
	title      string
	start, end int // of the line, with its end
}

// headings are the ATX headings of a Markdown text. What looks like one in a code fence is none.
func headings(text string) []headingLine {
	var out []headingLine
	fence := ""
	for at := 0; at < len(text); {
		end := len(text)
		if n := strings.IndexByte(text[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		line := strings.TrimRight(text[at:end], "\r\n")
		inner := strings.TrimLeft(line, " ")
		indented := len(line)-len(inner) > 3
		switch mark := fenceOf(inner); {
		case indented:
		case fence != "":
			if strings.HasPrefix(mark, fence) && strings.TrimSpace(inner[len(mark):]) == "" {
				fence = ""
			}
		case mark != "":
			fence = mark
		default:
			level := len(inner) - len(strings.TrimLeft(inner, "#"))
			rest := inner[level:]
			if level >= 1 && level <= 6 && (rest == "" || rest[0] == ' ' || rest[0] == '\t') {
				title := strings.TrimSpace(rest)
				if bare := strings.TrimRight(
					title,
					"#",
				); bare == "" ||
					strings.HasSuffix(bare, " ") {
					title = strings.TrimSpace(bare)
				}
				out = append(out, headingLine{level, title, at, end})
			}
		}
		at = end
	}
	return out
}

// fenceOf is the mark that begins or ends a code fence; "" when a line has none.
func fenceOf(line string) string {
	for _, mark := range []string{"`", "~"} {
		if n := len(line) - len(strings.TrimLeft(line, mark)); n >= 3 {
			if mark == "`" && strings.Contains(line[n:], "`") {
				return "" // code within a line
			}
			return line[:n]
		}
	}
	return ""
}
