// Package textedit changes one place of a text, so that a caller need not send all of it. The MCP
// server's edit_text does the same; tests/vectors/text-edits.json holds both to the same results.
package textedit

import (
	"fmt"
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
	Heading   string // for replace_section; with its number signs it is of that level
}

// MatchError says that what an edit looks for is missing, or there more than once.
type MatchError struct {
	Argument string // "find" or "heading"
	Count    int
}

func (e *MatchError) Error() string {
	if e.Count == 0 {
		return e.Argument + " is not in the text"
	}
	return fmt.Sprintf("%s is %d times in the text: it must name one place", e.Argument, e.Count)
}

// Apply makes an edit. A text keeps its line ends: what is added gets those of the text.
func (e Edit) Apply(text string) (string, error) {
	added, end := withLineEndsOf(text, e.Text), "\n"
	if isCRLF(text) {
		end = "\r\n"
	}
	switch e.Operation {
	case Append:
		if text == "" || endsLine(text) || beginsLine(added) {
			return text + added, nil
		}
		return text + end + added, nil
	case Prepend:
		if text == "" || beginsLine(text) || endsLine(added) {
			return added + text, nil
		}
		return added + end + text, nil
	case Replace, InsertAfter:
		from, to, err := locate(text, e.Find)
		if err != nil {
			return "", err
		}
		if e.Operation == InsertAfter {
			from = to
		}
		return text[:from] + added + text[to:], nil
	case ReplaceSection:
		heading, to, err := section(text, e.Heading)
		if err != nil {
			return "", err
		}
		return withSection(text, heading, to, added, end), nil
	}
	return "", fmt.Errorf("unknown operation %q", e.Operation)
}

const lineEnds = "\r\n"

func beginsLine(text string) bool {
	return text != "" && strings.IndexByte(lineEnds, text[0]) >= 0
}

func endsLine(text string) bool {
	return text != "" && strings.IndexByte(lineEnds, text[len(text)-1]) >= 0
}

// isCRLF reports whether all lines of a text end in CR LF.
func isCRLF(text string) bool {
	all := strings.Count(text, "\n")
	return all > 0 && all == strings.Count(text, "\r\n")
}

// withLineEndsOf is added with the line ends that text has throughout.
func withLineEndsOf(text, added string) string {
	switch {
	case isCRLF(text):
		return strings.ReplaceAll(strings.ReplaceAll(added, "\r\n", "\n"), "\n", "\r\n")
	case !strings.Contains(text, "\r") && strings.Contains(text, "\n"):
		return strings.ReplaceAll(added, "\r\n", "\n")
	}
	return added
}

// locate is where a text has what is looked for, if it has it once. Places that overlap are more
// than one.
func locate(text, find string) (from, to int, err error) {
	if !strings.Contains(text, find) {
		find = withLineEndsOf(text, find)
	}
	from = strings.Index(text, find)
	if find == "" || from < 0 {
		return 0, 0, &MatchError{"find", 0}
	}
	if strings.Contains(text[from+1:], find) {
		return 0, 0, &MatchError{"find", max(2, strings.Count(text, find))}
	}
	return from, from + len(find), nil
}

// section is the heading that is meant, and the end of what stands below it: the next heading of
// the same level or a higher one. A heading with number signs is meant with its level, and one that
// is written in another case only where none is written like it.
func section(text, heading string) (found headingLine, to int, err error) {
	title, level := strings.TrimSpace(heading), 0
	if parsed := headings(title); len(parsed) > 0 {
		title, level = parsed[0].title, parsed[0].level
	}
	lower := strings.ToLower(title)
	all := headings(text)
	var exact, alike []int
	for n, h := range all {
		switch {
		case level != 0 && h.level != level:
		case h.title == title:
			exact = append(exact, n)
		case len(h.title) < 4*len(lower)+4 && strings.ToLower(h.title) == lower:
			alike = append(alike, n)
		}
	}
	if len(exact) == 0 {
		exact = alike
	}
	if len(exact) != 1 {
		return headingLine{}, 0, &MatchError{"heading", len(exact)}
	}
	found, to = all[exact[0]], len(text)
	for _, h := range all[exact[0]+1:] {
		if h.level <= found.level {
			to = h.start
			break
		}
	}
	return found, to, nil
}

// withSection is a text with something else below a heading. The blank lines at both ends of the
// section stay.
func withSection(text string, heading headingLine, to int, body, end string) string {
	// Models repeat the heading at times.
	if repeated := headings(body); len(repeated) > 0 && repeated[0].start == 0 &&
		repeated[0].level == heading.level && repeated[0].title == heading.title {
		body = body[repeated[0].end:]
	}
	body = strings.Trim(body, lineEnds)
	old := text[heading.end:to]
	rest := strings.TrimLeft(old, lineEnds)
	lead := old[:len(old)-len(rest)]
	tail := rest[len(strings.TrimRight(rest, lineEnds)):]
	if lead == "" && !endsLine(text[:heading.end]) {
		lead = end // the heading is the last line, and has no end
	}
	if tail == "" && body != "" && to < len(text) {
		tail = end // what follows begins on a line of its own
	}
	return text[:heading.end] + lead + body + tail + text[to:]
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
				bare := strings.TrimRight(title, "#")
				if bare == "" || strings.HasSuffix(bare, " ") || strings.HasSuffix(bare, "\t") {
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
