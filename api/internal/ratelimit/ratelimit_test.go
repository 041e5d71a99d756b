package ratelimit

import (
	"testing"
	"time"
)

var start = time.UnixMilli(1763636400000)

func TestBurstThenRate(t *testing.T) {
	l := New[string](60, 3)
	for i := range 3 {
		if v := l.Take("ada", start); !v.Allowed || v.Remaining != 2-i {
			t.Fatalf("take %d: %+v", i, v)
		}
	}
	v := l.Take("ada", start)
	if v.Allowed || v.RetryAfter != time.Second || v.Reset != 3*time.Second || v.Remaining != 0 {
		t.Fatalf("fourth: %+v", v)
	}
	if v := l.Take("bob", start); !v.Allowed {
		t.Error("another caller has no bucket of its own")
	}
	if v := l.Take("ada", start.Add(999*time.Millisecond)); v.Allowed {
		t.Error("allowed too early")
	}
	if v := l.Take("ada", start.Add(time.Second)); !v.Allowed {
		t.Errorf("refused after the time it was told to wait: %+v", v)
	}
}

// A bucket that is in use survives a change of generations: otherwise a steady caller gets a full
// bucket at every change.
func TestGenerationsForgetOnlyFullBuckets(t *testing.T) {
	l := New[string](60, 3)
	now := start
	allowed := 0
	for range 100 { // ten requests a second for ten seconds
		if l.Take("ada", now).Allowed {
			allowed++
		}
		now = now.Add(100 * time.Millisecond)
	}
	if allowed < 12 || allowed > 13 {
		t.Errorf("%d of 100 allowed in ten seconds at one a second, burst 3", allowed)
	}
	for i := range 1000 {
		l.Take(string(rune('a'+i%26))+string(rune('a'+i/26)), now)
	}
	l.Take("ada", now.Add(3*time.Second))
	l.Take("ada", now.Add(6*time.Second))
	if n := len(l.young) + len(l.old); n > 2 {
		t.Errorf("%d buckets kept for one caller", n)
	}
}

func TestZeroTurnsItOff(t *testing.T) {
	if New[string](0, 5) != nil {
		t.Error("a limiter for a rate of zero")
	}
}
