package httpapi

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/toolbridge/toolbridge-mcp/api/internal/entity"
	"github.com/toolbridge/toolbridge-mcp/api/internal/store"
	"github.com/toolbridge/toolbridge-mcp/api/internal/telemetry"
)

type sessionBody struct {
	ID        string `json:"id"`
	UserID    string `json:"userId"`
	CreatedAt string `json:"createdAt"`
	ExpiresAt string `json:"expiresAt"`
	Epoch     int64  `json:"epoch"`
}

func writeSession(w http.ResponseWriter, status int, s store.Session) {
	w.Header().Set(headerEpoch, strconv.FormatInt(s.Epoch, 10))
	writeJSON(
		w,
		status,
		sessionBody{s.ID, s.Person.Subject, formatTime(s.Created), formatTime(s.Expires), s.Epoch},
	)
}

func (a *API) openSession(w http.ResponseWriter, r *http.Request) error {
	session, err := a.Store.OpenSession(r.Context(), callOf(r.Context()).person)
	if err != nil {
		return err
	}
	a.Metrics.SessionsOpened.Inc()
	writeSession(w, http.StatusCreated, session)
	return nil
}

func (a *API) getSession(w http.ResponseWriter, r *http.Request) error {
	session, err := a.ownSession(r, chi.URLParam(r, "id"), notFound("session"))
	if err != nil {
		return err
	}
	writeSession(w, http.StatusOK, session)
	return nil
}

func (a *API) endSession(w http.ResponseWriter, r *http.Request) error {
	id := chi.URLParam(r, "id")
	err := a.Store.EndSession(r.Context(), id, callOf(r.Context()).person)
	if errors.Is(err, store.ErrNoSession) {
		// missing, or another user's
		if _, err := a.ownSession(r, id, notFound("session")); err != nil {
			return err
		}
		return notFound("session")
	} else if err != nil {
		return err
	}
	a.Metrics.SessionsEnded.WithLabelValues(telemetry.SessionEnded).Inc()
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) state(w http.ResponseWriter, r *http.Request) error {
	state, err := a.Store.State(r.Context(), callOf(r.Context()).session.Owner)
	if err != nil {
		return err
	}
	body := map[string]any{"epoch": state.Epoch}
	if state.LastWipe != 0 {
		body["lastWipeAt"], body["lastWipeBy"] = formatMillis(state.LastWipe), state.LastWipeBy
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

func (a *API) wipe(w http.ResponseWriter, r *http.Request) error {
	body, err := a.readObject(w, r)
	if err != nil {
		return err
	}
	if confirm, _ := body.Text("confirm"); confirm != "WIPE" {
		return badRequest(
			`wiping deletes everything of this user: confirm it with {"confirm":"WIPE"}`,
		)
	}
	c := callOf(r.Context())
	epoch, counts, err := a.Store.Wipe(r.Context(), c.session.Owner, c.person.Subject)
	if err != nil {
		return err
	}
	deleted := make(map[string]int64)
	for _, kind := range entity.All {
		deleted[kind.Key] = counts[kind.Name]
	}
	a.Log.Warn("a user's data was wiped on their request", telemetry.CorrelationID, c.correlationID,
		telemetry.Tenant, c.person.Tenant, telemetry.User, c.person.Subject, telemetry.Epoch, epoch)
	w.Header().Set(headerEpoch, strconv.FormatInt(epoch, 10))
	writeJSON(w, http.StatusOK, map[string]any{"epoch": epoch, "deleted": deleted})
	return nil
}
