package search

import (
	"slices"
	"strings"
)

// Matches reports whether a document meets an expression. The databases must come to the same
// answer from their indexes.
func (e Expression) Matches(d *Document) bool {
	if !slices.Contains(e.states, d.State) {
		return false
	}
	terms := make(map[string]bool, len(d.Terms)+len(d.Stream))
	for _, term := range d.Terms {
		terms[term] = true
	}
	for _, word := range d.Stream {
		terms[classWord+word] = true
	}
	return matches(e.node, d, terms)
}

func matches(n Node, d *Document, terms map[string]bool) bool {
	switch n := n.(type) {
	case And:
		for _, child := range n {
			if !matches(child, d, terms) {
				return false
			}
		}
		return true
	case Or:
		for _, child := range n {
			if matches(child, d, terms) {
				return true
			}
		}
		return false
	case Not:
		return !matches(n.Node, d, terms)
	case Word:
		return slices.ContainsFunc(n.terms(), func(term string) bool { return terms[term] })
	case Phrase:
		for at := range d.Stream {
			if n.at(d.Stream, at) {
				return true
			}
		}
		return false
	case titlePrefix:
		return slices.ContainsFunc(
			d.Terms,
			func(term string) bool { return strings.HasPrefix(term, classTitle+string(n)) },
		)
	case facet:
		return terms[string(n)]
	}
	return false
}

// at reports whether a phrase begins at a place of a stream.
func (p Phrase) at(stream []string, at int) bool {
	if at+len(p.Words) > len(stream) {
		return false
	}
	for k, word := range p.Words {
		found := stream[at+k]
		if found == word || p.Prefix && k == len(p.Words)-1 && strings.HasPrefix(found, word) {
			continue
		}
		return false
	}
	return true
}
