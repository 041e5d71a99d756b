package contract

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// openAPI is as much of api/openapi.yaml as answers are held to.
type openAPI struct {
	Paths      map[string]map[string]yaml.Node
	Components struct {
		Responses map[string]openAPIResponse
		Schemas   map[string]openAPISchema
	}
}

type openAPIResponse struct {
	Ref     string `yaml:"$ref"`
	Content map[string]struct{ Schema openAPISchema }
}

type openAPISchema struct {
	Ref        string `yaml:"$ref"`
	Required   []string
	Properties map[string]any
}

var described = sync.OnceValues(func() (*openAPI, error) {
	text, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		return nil, err
	}
	var page openAPI
	return &page, yaml.Unmarshal(text, &page)
})

var inBraces = regexp.MustCompile(`\{\w+\}`)

// responses are those of the operation that a request is for; nil when there is none.
func (page *openAPI) responses(method, path string) (map[string]openAPIResponse, error) {
	path, _, _ = strings.Cut(path, "?")
	best := ""
	for template := range page.Paths {
		form := strings.ReplaceAll(
			template,
			"{entity}",
			"(notes|tasks|comments|chats|chat_messages)",
		)
		form = inBraces.ReplaceAllString(form, `[^/]+`)
		matched := regexp.MustCompile("^" + form + "$").MatchString(path)
		if matched && (best == "" || strings.Count(template, "{") < strings.Count(best, "{")) {
			best = template
		}
	}
	if method == "HEAD" {
		method = "GET"
	}
	if method != strings.ToUpper(method) {
		return nil, nil // another method, by HTTP's rules
	}
	node, ok := page.Paths[best][strings.ToLower(method)]
	if !ok {
		return nil, nil
	}
	var operation struct{ Responses map[string]openAPIResponse }
	return operation.Responses, node.Decode(&operation)
}

// undescribed says what is in an answer that openapi.yaml does not know: its status, or a body
// without what it promises or, where all of its members are named, with others.
func (a *answer) undescribed() error {
	if family || a.status == 431 {
		return nil
	}
	page, err := described()
	if err != nil {
		return err
	}
	all, err := page.operation(a.method, a.path)
	if err != nil || all == nil {
		return err
	}
	response, ok := all[strconv.Itoa(a.status)]
	if !ok {
		return fmt.Errorf("openapi.yaml does not know status %d of %s", a.status, a.method)
	}
	if name, ok := strings.CutPrefix(response.Ref, "#/components/responses/"); ok {
		response = page.Components.Responses[name]
	}
	schema := response.Content["application/json"].Schema
	if name, ok := strings.CutPrefix(schema.Ref, "#/components/schemas/"); ok {
		schema = page.Components.Schemas[name]
	}
	if a.method == "HEAD" || len(schema.Required) == 0 {
		return nil
	}
	var body map[string]json.RawMessage
	if err := json.Unmarshal(a.body, &body); err != nil {
		return fmt.Errorf("openapi.yaml promises an object: %w", err)
	}
	for _, name := range schema.Required {
		if _, ok := body[name]; !ok {
			return fmt.Errorf("openapi.yaml promises %s", name)
		}
	}
	for name := range body {
		if _, ok := schema.Properties[name]; !ok {
			return fmt.Errorf("openapi.yaml does not know %s", name)
		}
	}
	return nil
}

// operations caches what was looked up: a suite asks for few paths, thousands of times each.
var operations sync.Map

var uidInPath = regexp.MustCompile(`/[^/?]{20,}`)

func (page *openAPI) operation(method, path string) (map[string]openAPIResponse, error) {
	path, _, _ = strings.Cut(path, "?")
	key := method + " " + uidInPath.ReplaceAllString(path, "/x")
	if known, ok := operations.Load(key); ok {
		return known.(map[string]openAPIResponse), nil
	}
	found, err := page.responses(method, path)
	if err == nil && !slices.Contains([]string{"", "/"}, path) {
		operations.Store(key, found)
	}
	return found, err
}
