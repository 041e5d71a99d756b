package httpapi

import (
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"go.yaml.in/yaml/v3"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

// openapi.yaml names exactly the routes that there are.
func TestOpenAPINamesEveryRoute(t *testing.T) {
	text, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Paths map[string]map[string]any
	}
	if err := yaml.Unmarshal(text, &page); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for path, operations := range page.Paths {
		for method := range operations {
			if method == "parameters" {
				continue
			}
			for _, kind := range entity.All {
				described[strings.ToUpper(
					method,
				)+" "+strings.ReplaceAll(path, "{entity}", kind.Name)] = true
			}
		}
	}
	api := &API{Metrics: telemetry.NewMetrics("test", nil)}
	served := map[string]bool{}
	known := []string{"GET", "POST", "PUT", "PATCH", "DELETE"}
	err = chi.Walk(api.Handler().(chi.Routes), func(method, route string, _ http.Handler,
		_ ...func(http.Handler) http.Handler) error {
		if slices.Contains(known, method) {
			served[method+" "+route] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Every route takes any method, to say which it allows; those count only where they are
	// described.
	for route := range described {
		if !served[route] {
			t.Errorf("%s is described and not served", route)
		}
	}
	paths := map[string]bool{}
	for route := range described {
		_, path, _ := strings.Cut(route, " ")
		paths[path] = true
	}
	for _, route := range slices.Sorted(maps.Keys(served)) {
		if _, path, _ := strings.Cut(route, " "); !paths[path] {
			t.Errorf("%s is served and not described", path)
		}
	}
}
