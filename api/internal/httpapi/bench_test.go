package httpapi

import (
	"strings"
	"testing"

	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

// A page of fifty notes, spliced together from what is stored.
func BenchmarkPageJSON(b *testing.B) {
	content := strings.Repeat("Some words that somebody wrote. ", 6)
	payload := []byte(`{"title":"A note","content":"` + content + `"}`)
	items := make([]store.Item, 50)
	for n := range items {
		items[n] = store.Item{
			UID:     "0192f0c8-7b1a-7cc0-8a1e-3f2b6f0d9a11",
			Version: 3,
			Updated: 1763636400000,
			Payload: payload,
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		page(items, "a cursor")
	}
}
