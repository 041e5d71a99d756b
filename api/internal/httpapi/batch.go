package httpapi

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/toolbridge/toolbridge-mcp/api/internal/payload"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
)

const (
	maxOperations = 100
	headerKey     = "Idempotency-Key"
	maxKey        = 255
)

// batchCall is a batch as its caller sent it.
type batchCall struct {
	operations []operation
	atomic     bool
	dryRun     bool
	members    int // of all operations and of what they write
}

type outcomeBody struct {
	Index     int    `json:"index"`
	Op        string `json:"op"`
	Kind      string `json:"kind"`
	UID       string `json:"uid"`
	Status    int    `json:"status"`
	Version   int64  `json:"version,omitempty"`
	UpdatedAt string `json:"updatedAt,omitempty"`
	DeletedAt string `json:"deletedAt,omitempty"`
	Error     string `json:"error,omitempty"`
	Field     any    `json:"field,omitempty"`
	Count     any    `json:"count,omitempty"`
}

type batchBody struct {
	Atomic  bool          `json:"atomic"`
	DryRun  bool          `json:"dryRun"`
	Done    int           `json:"done"`
	Failed  int           `json:"failed"`
	Results []outcomeBody `json:"results"`
}

// memberBytes is reserved while the operations are read: those of one object may come on top of
// those that are allowed.
const memberBytes = 2 * perMember * payload.MaxMembers

func (a *API) batch(w http.ResponseWriter, r *http.Request) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	body, err := a.readOptional(w, r, memberBytes)
	if err != nil {
		return err
	} else if body == nil {
		return badRequest(payload.ErrEmpty.Error())
	}
	memory := &operationMemory{a: a, r: r}
	b, err := a.readBatch(body, memory)
	if err != nil {
		return err
	}
	callOf(r.Context()).memory.Shrink(copies*int64(body.Size()) + perMember*int64(b.members))
	out := store.Batch{Atomic: b.atomic, DryRun: b.dryRun, Refused: isRefusal,
		Answer: func(outcomes []store.Outcome) []byte { return b.answer(outcomes) }}
	if !b.dryRun {
		hash := sha256.Sum256(body.JSON())
		out.Key, out.Body = key, hash[:]
	}
	for _, op := range b.operations {
		out.Steps = append(
			out.Steps,
			store.Step{Kind: op.kind.Name, UID: op.uid, Change: op.change},
		)
	}
	outcomes, remembered, err := a.Store.WriteBatch(r.Context(), a.owner(r), out)
	var refused *store.StepError
	switch {
	case errors.As(err, &refused):
		return b.refusal(refused)
	case errors.Is(err, store.ErrKeyReused):
		return &problem{status: http.StatusConflict, message: "idempotency_key_reused"}
	case err != nil:
		return a.lost(r, err)
	case remembered != nil:
		w.Header().Set("Idempotent-Replayed", "true")
		writeText(w, http.StatusOK, remembered)
		return nil
	}
	writeText(w, http.StatusOK, b.answer(outcomes))
	return nil
}

// idempotencyKey is "" where there is none.
func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header.Values(headerKey)
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	printable := !strings.ContainsFunc(key, func(r rune) bool { return r < '!' || r > '~' })
	if len(values) > 1 || key == "" || len(key) > maxKey || !printable {
		return "", badRequest(
			fmt.Sprintf(
				"%s must be 1 to %d printable ASCII characters without spaces",
				headerKey,
				maxKey,
			),
		)
	}
	return key, nil
}

// isRefusal reports whether an error is about one operation only.
func isRefusal(err error) bool {
	p := asProblem(err)
	return p.status < http.StatusInternalServerError && p.status != http.StatusTooManyRequests &&
		p.status != statusClientGone
}

func (a *API) readBatch(body *payload.Object, memory *operationMemory) (batchCall, error) {
	m := &members{Object: body, known: make(map[string]bool), of: "a batch"}
	b := batchCall{atomic: true, dryRun: m.flag("dryRun")}
	if _, ok := m.get("atomic"); ok {
		b.atomic = m.flag("atomic")
	}
	raw, ok := m.get("operations")
	var list []json.RawMessage
	if !ok || json.Unmarshal(raw, &list) != nil || len(list) < 1 || len(list) > maxOperations {
		m.fail("operations", "must be a list of 1 to %d operations", maxOperations)
	}
	if m.unknown(); m.err != nil {
		return b, m.err
	}
	for n, text := range list {
		op, err := a.readOperation(text, &b, memory)
		if err != nil {
			p := *asProblem(err)
			p.message = fmt.Sprintf("operation %d: %s", n, p.message)
			p.fields = withIndex(p.fields, n)
			return b, &p
		}
		b.operations = append(b.operations, op)
	}
	return b, nil
}

func withIndex(fields map[string]any, index int) map[string]any {
	out := map[string]any{"index": index}
	for name, value := range fields {
		out[name] = value
	}
	return out
}

func (b *batchCall) answer(outcomes []store.Outcome) []byte {
	out := batchBody{
		Atomic:  b.atomic,
		DryRun:  b.dryRun,
		Results: make([]outcomeBody, 0, len(outcomes)),
	}
	for n, o := range outcomes {
		op := b.operations[n]
		body := outcomeBody{
			Index:  n,
			Op:     op.op,
			Kind:   op.kind.Key,
			UID:    op.uid,
			Status: http.StatusOK,
		}
		if o.Err != nil {
			p := asProblem(o.Err)
			body.Status, body.Error = p.status, p.message
			body.Field, body.Count = p.fields["field"], p.fields["count"]
			out.Failed++
		} else {
			if op.op == "create" {
				body.Status = http.StatusCreated
			}
			body.Version, body.UpdatedAt = o.Item.Version, formatMillis(o.Item.Updated)
			if o.Item.Deleted != 0 {
				body.DeletedAt = formatMillis(o.Item.Deleted)
			}
			out.Done++
		}
		out.Results = append(out.Results, body)
	}
	text, _ := json.Marshal(out) // texts and numbers encode
	return text
}

// refusal is the error of an atomic batch with an operation that was refused.
func (b *batchCall) refusal(refused *store.StepError) *problem {
	p := asProblem(refused.Err)
	fields := withIndex(p.fields, refused.Step)
	fields["operationStatus"] = p.status
	return &problem{
		status: http.StatusUnprocessableEntity,
		fields: fields,
		message: fmt.Sprintf(
			"operation %d (%s): %s; nothing was changed",
			refused.Step,
			b.operations[refused.Step].op,
			p.message,
		),
	}
}
