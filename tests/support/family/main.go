// An API of the family that is deployed already, as small as it can be: it has /healthz and
// /v1/sync/info and no /readyz, knows version 1 of the tenant signature, keeps everything in
// memory, lists oldest changes first, answers some refusals in plain text, and limits how often a
// user may open sessions.
//
// It prints its address. Its settings are JWT_HS256_SECRET, TENANT_HEADER_SECRET,
// SESSIONS_PER_MINUTE and SESSIONS_BURST. It refuses users whose sub begins with "outsider".
package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

type object = map[string]any

type item struct {
	kind, uid string
	version   int
	updated   time.Time
	deleted   bool
	payload   object
}

type user struct {
	sessions map[string]bool
	items    []*item
	tokens   float64
	filled   time.Time
}

type api struct {
	sync.Mutex
	users map[string]*user
}

var (
	kinds     = []string{"notes", "tasks", "comments", "chats", "chat_messages"}
	perMinute = number("SESSIONS_PER_MINUTE")
	burst     = number("SESSIONS_BURST")
)

func number(name string) float64 {
	value, err := strconv.ParseFloat(os.Getenv(name), 64)
	if err != nil {
		panic(name + ": " + err.Error())
	}
	return value
}

func mac(secret, text string) []byte {
	sum := hmac.New(sha256.New, []byte(os.Getenv(secret)))
	sum.Write([]byte(text))
	return sum.Sum(nil)
}

// caller is the sub of the token, or empty.
func caller(r *http.Request) string {
	parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
	if len(parts) != 3 {
		return ""
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	if !hmac.Equal(signature, mac("JWT_HS256_SECRET", parts[0]+"."+parts[1])) {
		return ""
	}
	text, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Sub string
		Exp int64
	}
	if json.Unmarshal(text, &claims) != nil || claims.Exp < time.Now().Unix() {
		return ""
	}
	return claims.Sub
}

func signed(r *http.Request) bool {
	text := r.Header.Get("X-TB-Tenant-ID") + ":" + r.Header.Get("X-TB-Timestamp")
	return r.Header.Get("X-TB-Signature") == hex.EncodeToString(mac("TENANT_HEADER_SECRET", text))
}

func newID() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw)
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
}

func answer(w http.ResponseWriter, status int, body object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		answer(w, 200, object{"status": "ok"})
		return
	case "/v1/sync/info":
		answer(w, 200, object{
			"name": "family", "version": "0.9", "time": time.Now().UTC(),
			"tenantSignature": object{"required": true, "versions": []string{"v1"}},
		})
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		http.NotFound(w, r)
		return
	}
	sub := caller(r)
	if sub == "" || !signed(r) {
		http.Error(w, "unauthorized", 401)
		return
	}
	if strings.HasPrefix(sub, "outsider") {
		http.Error(w, "not authorized for requested tenant", 403)
		return
	}
	a.Lock()
	defer a.Unlock()
	u := a.users[sub]
	if u == nil {
		u = &user{sessions: map[string]bool{}, tokens: burst, filled: time.Now()}
		a.users[sub] = u
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	if parts[0] == "sync" {
		u.session(w, r, parts[1:])
		return
	}
	if !slices.Contains(kinds, parts[0]) {
		http.NotFound(w, r)
		return
	}
	if !u.sessions[r.Header.Get("X-Sync-Session")] {
		answer(w, 428, object{"error": "session required"})
		return
	}
	u.entity(w, r, parts)
}

func (u *user) session(w http.ResponseWriter, r *http.Request, parts []string) {
	switch {
	case r.Method == "POST" && len(parts) == 1 && parts[0] == "sessions":
		now := time.Now()
		u.tokens = min(burst, u.tokens+now.Sub(u.filled).Minutes()*perMinute)
		u.filled = now
		if u.tokens < 1 {
			w.Header().Set("Retry-After", strconv.Itoa(int((1-u.tokens)*60/perMinute)+1))
			http.Error(w, "too many sessions", 429)
			return
		}
		u.tokens--
		id := newID()
		u.sessions[id] = true
		w.Header().Set("X-Sync-Epoch", "1")
		answer(w, 201, object{"id": id, "epoch": 1})
	case r.Method == "DELETE" && len(parts) == 2 && u.sessions[parts[1]]:
		delete(u.sessions, parts[1])
		w.WriteHeader(204)
	default:
		answer(w, 404, object{"error": "not found"})
	}
}

func (u *user) entity(w http.ResponseWriter, r *http.Request, parts []string) {
	if len(parts) == 1 && r.Method == "GET" {
		items := []object{}
		for _, each := range u.items {
			if each.kind == parts[0] && !each.deleted {
				items = append(items, each.shown())
			}
		}
		answer(w, 200, object{"items": items})
		return
	}
	body := object{}
	if r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH" {
		if r.ContentLength != 0 && json.NewDecoder(r.Body).Decode(&body) != nil {
			answer(w, 400, object{"error": "invalid JSON"})
			return
		}
	}
	if len(parts) == 1 && r.Method == "POST" {
		uid, _ := body["uid"].(string)
		if uid == "" {
			uid = newID()
		}
		made := &item{kind: parts[0], uid: uid, payload: body}
		u.items = append(u.items, made)
		made.write(w, 201)
		return
	}
	place := slices.IndexFunc(u.items, func(each *item) bool {
		return each.kind == parts[0] && each.uid == parts[1]
	})
	if place < 0 {
		answer(w, 404, object{"error": "not found"})
		return
	}
	found := u.items[place]
	if found.deleted {
		answer(w, 410, object{"error": "deleted"})
		return
	}
	want := strings.Trim(r.Header.Get("If-Match"), `"`)
	if want != "" && want != "*" && want != strconv.Itoa(found.version) {
		reason := fmt.Sprintf("version mismatch: expected %s, actual %d", want, found.version)
		answer(w, 412, object{"error": reason})
		return
	}
	switch {
	case r.Method == "GET":
		answer(w, 200, found.shown())
		return
	case r.Method == "PUT":
		found.payload = body
	case r.Method == "PATCH":
		for key, value := range body {
			found.payload[key] = value
		}
	case r.Method == "DELETE":
		found.deleted = true
	case len(parts) == 3 && parts[2] == "archive":
		found.payload["status"] = "archived"
	}
	// The most recently changed last.
	u.items = append(slices.Delete(u.items, place, place+1), found)
	found.write(w, 200)
}

func (i *item) write(w http.ResponseWriter, status int) {
	i.version++
	i.updated = time.Now().UTC()
	answer(w, status, i.shown())
}

func (i *item) shown() object {
	shown := object{
		"uid": i.uid, "version": i.version, "updatedAt": i.updated, "payload": i.payload,
	}
	if i.deleted {
		shown["deletedAt"] = i.updated
	}
	return shown
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	panic(http.Serve(listener, &api{users: map[string]*user{}}))
}
