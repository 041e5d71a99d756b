package httpapi

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/tenantsig"
)

// readObject reads a request's body, which must be the one that was signed, and a JSON object of at most MaxBody bytes.
func (a *API) readObject(w http.ResponseWriter, r *http.Request) (*payload.Object, error) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, err
	case err != nil: // the caller stopped in the middle
		return nil, badRequest("body could not be read to its end")
	}
	if hash := callOf(r.Context()).contentHash; hash != "" {
		if err := tenantsig.CheckBody(hash, text); err != nil {
			a.Metrics.AuthFailures.WithLabelValues(err.Error()).Inc()
			return nil, tenantRefused(err.Error())
		}
	}
	object, err := payload.Parse(text)
	if err != nil {
		return nil, badRequest(err.Error())
	}
	return object, nil
}

func writeItem(w http.ResponseWriter, status int, item store.Item) {
	w.Header().Set("ETag", `"`+strconv.FormatInt(item.Version, 10)+`"`)
	writeText(w, status, appendItem(make([]byte, 0, len(item.Payload)+overhead), item))
}

func pageJSON(items []store.Item, nextCursor string) []byte {
	size := overhead
	for _, item := range items {
		size += len(item.Payload) + overhead
	}
	out := append(make([]byte, 0, size), `{"items":[`...)
	for n, item := range items {
		if n > 0 {
			out = append(out, ',')
		}
		out = appendItem(out, item)
	}
	out = append(out, ']')
	if nextCursor != "" { // base64, so it needs no escaping
		out = append(out, `,"nextCursor":"`+nextCursor+`"`...)
	}
	return append(out, '}')
}

// overhead is about what an item's answer has beside its payload.
const overhead = 320

// appendItem writes an item around and into its payload, whose text stays as the caller sent it.
func appendItem(out []byte, item store.Item) []byte {
	version := strconv.FormatInt(item.Version, 10)
	updated := formatMillis(item.Updated)
	deleted := ""
	if item.Deleted != 0 {
		deleted = `,"deletedAt":"` + formatMillis(item.Deleted) + `"`
	}
	out = appendTexts(out, `{"uid":"`, item.UID, `","version":`, version, `,"createdAt":"`, formatMillis(item.Created),
		`","updatedAt":"`, updated, `"`, deleted, `,"payload":`)
	out = append(out, item.Payload[:len(item.Payload)-1]...) // without the closing brace
	if len(item.Payload) > len(`{}`) {
		out = append(out, ',')
	}
	out = appendTexts(out, `"uid":"`, item.UID, `","updatedTs":"`, updated, `","sync":{"version":`, version, `,"isDeleted":`)
	out = strconv.AppendBool(out, item.Deleted != 0)
	return appendTexts(out, deleted, `}}}`)
}

// appendTexts spares a page of items the strings in between.
func appendTexts(out []byte, texts ...string) []byte {
	for _, text := range texts {
		out = append(out, text...)
	}
	return out
}
