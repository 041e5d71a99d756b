package search

import (
	"strconv"
	"strings"
)

// Filter narrows a search by what is no text.
type Filter struct {
	States   []State // at least one
	Kinds    []string
	Parent   string
	Tags     []string // all of them
	Status   string
	Priority string
}

// Expression is a query and a filter, ready for either database.
type Expression struct {
	owner  int64
	states []State
	node   Node // never nil
	query  Node // may be nil
}

// Compile puts a query, which may be nil, and a filter together.
func Compile(owner int64, query Node, filter Filter) Expression {
	var all And
	if query != nil {
		all = append(all, query)
	}
	if len(filter.Kinds) > 0 {
		var kinds Or
		for _, kind := range filter.Kinds {
			kinds = append(kinds, facet(classKind+kind))
		}
		all = append(all, kinds)
	}
	if filter.Status != "" {
		all = append(all, facet(classStatus+facetValue(filter.Status)))
	}
	if filter.Priority != "" {
		all = append(all, facet(classPriority+facetValue(filter.Priority)))
	}
	if filter.Parent != "" {
		all = append(all, facet(classParent+filter.Parent))
	}
	for _, tag := range filter.Tags {
		all = append(all, facet(classTag+facetValue(tag)))
	}
	e := Expression{owner: owner, states: filter.States, query: query}
	switch len(all) {
	case 0:
		e.node = facet(classAll)
	case 1:
		e.node = all[0]
	default:
		e.node = all
	}
	return e
}

// TitleOnly narrows an expression to documents whose title meets the query by itself.
func (e Expression) TitleOnly() Expression {
	e.node = And{e.node, inTitle(e.query)}
	return e
}

// ButTitle leaves those out that TitleOnly leaves in.
func (e Expression) ButTitle() Expression {
	e.node = And{e.node, Not{inTitle(e.query)}}
	return e
}

// inTitle is a query whose words must be in the title, in any form. What must not be in the text is
// left to the rest of the expression.
func inTitle(n Node) Node {
	switch n := n.(type) {
	case And:
		var out And
		for _, child := range n {
			if _, negative := child.(Not); !negative {
				out = append(out, inTitle(child))
			}
		}
		if len(out) == 0 {
			return facet(classAll)
		}
		return out
	case Or:
		out := make(Or, 0, len(n))
		for _, child := range n {
			out = append(out, inTitle(child))
		}
		return out
	case Word:
		out := make(Or, 0, len(n.Stems))
		for _, stem := range n.Stems {
			out = append(out, facet(classTitle+stem))
		}
		return out
	case Phrase:
		var out And
		for k, word := range n.Words {
			if n.Prefix && k == len(n.Words)-1 {
				out = append(out, titlePrefix(word))
			} else {
				out = append(out, facet(classTitle+word))
			}
		}
		return out
	}
	return facet(classAll)
}

// titlePrefix is met by titles with a word that begins so.
type titlePrefix string

func (titlePrefix) node() {}

// terms are the terms that a leaf is met by, each of them enough.
func (w Word) terms() []string {
	out := make([]string, 0, 2*len(w.Stems))
	for _, stem := range w.Stems {
		out = append(out, classStem+stem, classWord+stem)
	}
	return out
}

// FTS5 is the expression in SQLite's words. Every term is quoted, so none of them is taken for
// syntax.
func (e Expression) FTS5() string {
	var b strings.Builder
	for n, state := range e.states {
		if n > 0 {
			b.WriteString(" OR ")
		}
		fts5(&b, Scope(e.owner, state), e.node)
	}
	return b.String()
}

func fts5(b *strings.Builder, scope string, n Node) {
	quote := func(class string, words ...string) {
		b.WriteByte('"')
		for k, word := range words {
			if k > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(scope)
			b.WriteString(class)
			b.WriteString(word)
		}
		b.WriteByte('"')
	}
	join := func(nodes []Node, operator string) {
		b.WriteByte('(')
		for k, child := range nodes {
			if k > 0 {
				b.WriteString(operator)
			}
			fts5(b, scope, child)
		}
		b.WriteByte(')')
	}
	switch n := n.(type) {
	case And:
		positive, negative := split(n)
		if len(positive) == 0 {
			positive = []Node{facet(classAll)}
		}
		for range negative {
			b.WriteByte('(')
		}
		join(positive, " AND ")
		for _, child := range negative {
			b.WriteString(" NOT ")
			fts5(b, scope, child)
			b.WriteByte(')')
		}
	case Or:
		join(n, " OR ")
	case Not:
		fts5(b, scope, And{n})
	case Word:
		b.WriteByte('(')
		for k, stem := range n.Stems {
			if k > 0 {
				b.WriteString(" OR ")
			}
			quote(classWord, stem)
		}
		b.WriteByte(')')
	case Phrase:
		b.WriteString("words:")
		quote(classWord, n.Words...)
		if n.Prefix {
			b.WriteByte('*')
		}
	case titlePrefix:
		quote(classTitle, string(n))
		b.WriteByte('*')
	case facet:
		quote("", string(n))
	}
}

func split(nodes And) (positive, negative []Node) {
	for _, child := range nodes {
		if not, ok := child.(Not); ok {
			negative = append(negative, not.Node)
		} else {
			positive = append(positive, child)
		}
	}
	return positive, negative
}

// TSQuery is the expression in PostgreSQL's words, less what is said of phrases, which its index
// does not know: it is met by every document that meets the expression, and by some more where
// Exact is not empty. It is "" where the index cannot help.
func (e Expression) TSQuery() string {
	if e.node == facet(classAll) {
		return ""
	}
	var parts []string
	for _, state := range e.states {
		if text := tsquery(Scope(e.owner, state), e.node); text == "" {
			parts = append(parts, lexeme(Scope(e.owner, state)+classAll))
		} else {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, " | ")
}

// tsquery is "" where a document may meet a node whatever its terms are.
func tsquery(scope string, n Node) string {
	join := func(parts []string, operator string) string {
		if len(parts) == 0 {
			return ""
		}
		return "(" + strings.Join(parts, operator) + ")"
	}
	var parts []string
	switch n := n.(type) {
	case And:
		positive := 0
		for _, child := range n {
			if text := tsquery(scope, child); text != "" {
				parts = append(parts, text)
				if _, negative := child.(Not); !negative {
					positive++
				}
			}
		}
		if len(parts) > 0 && positive == 0 { // GIN reads the whole index for what is only negative
			parts = append(parts, lexeme(scope+classAll))
		}
		return join(parts, " & ")
	case Or:
		for _, child := range n {
			text := tsquery(scope, child)
			if text == "" {
				return ""
			}
			parts = append(parts, text)
		}
		return join(parts, " | ")
	case Not:
		if hasPhrase(n.Node) {
			return ""
		}
		return "(" + lexeme(scope+classAll) + " & !" + tsquery(scope, n.Node) + ")"
	case Word:
		for _, term := range n.terms() {
			parts = append(parts, lexeme(scope+term))
		}
		return join(parts, " | ")
	case Phrase:
		for k, word := range n.Words {
			text := lexeme(scope + classWord + word)
			if n.Prefix && k == len(n.Words)-1 {
				text += ":*"
			}
			parts = append(parts, text)
		}
		return join(parts, " & ")
	case titlePrefix:
		return lexeme(scope+classTitle+string(n)) + ":*"
	case facet:
		return lexeme(scope + string(n))
	}
	return ""
}

// lexeme quotes a term. Terms hold letters, digits and marks only, and the scope's colon; this does
// not rely on it.
func lexeme(term string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(term) + "'"
}

// HasPhrase reports whether the terms alone do not decide what meets the expression.
func (e Expression) HasPhrase() bool { return hasPhrase(e.node) }

// hasPhrase reports whether the terms alone do not decide a node.
func hasPhrase(n Node) bool {
	switch n := n.(type) {
	case And:
		for _, child := range n {
			if hasPhrase(child) {
				return true
			}
		}
	case Or:
		for _, child := range n {
			if hasPhrase(child) {
				return true
			}
		}
	case Not:
		return hasPhrase(n.Node)
	case Phrase:
		return len(n.Words) > 1
	}
	return false
}

// Exact is a condition in PostgreSQL's SQL, and what to put in for its parameters, which begin with
// number first. It is "" where TSQuery says it all.
func (e Expression) Exact(terms, words string, first int) (sql string, args []any) {
	if !e.HasPhrase() {
		return "", nil
	}
	put := func(arg any) string {
		args = append(args, arg)
		return "$" + strconv.Itoa(first+len(args)-1)
	}
	var render func(Node) string
	join := func(nodes []Node, operator string) string {
		parts := make([]string, 0, len(nodes))
		for _, child := range nodes {
			parts = append(parts, render(child))
		}
		return "(" + strings.Join(parts, operator) + ")"
	}
	render = func(n Node) string {
		switch n := n.(type) {
		case And:
			return join(n, " AND ")
		case Or:
			return join(n, " OR ")
		case Not:
			return "NOT " + render(n.Node)
		case Phrase:
			if len(n.Words) > 1 {
				text := " " + strings.Join(n.Words, " ")
				if !n.Prefix {
					text += " "
				}
				return "(strpos(" + words + ", " + put(text) + ") > 0)"
			}
		}
		var parts []string
		for _, state := range e.states {
			parts = append(parts, tsquery(Scope(e.owner, state), n))
		}
		return "(" + terms + " @@ CAST(CAST(" + put(
			strings.Join(parts, " | "),
		) + " AS text) AS tsquery))"
	}
	return render(e.node), args
}
