// Package ratelimit gives every caller a token bucket.
//
// A bucket that was not used for as long as it takes to fill equals a new one, so buckets are kept
// in two generations: what is used moves to the young one, and when a fill time has passed the old
// one is dropped whole. Memory is bounded by the callers of two fill times, and nothing is ever
// scanned.
package ratelimit

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limiter holds the buckets. Its nil value limits nothing.
type Limiter[K comparable] struct {
	perMinute, burst int
	fill             time.Duration

	mu         sync.Mutex
	young, old map[K]*rate.Limiter
	rotated    time.Time
}

// Decision is the answer to one request.
type Decision struct {
	Allowed    bool
	Limit      int           // requests a minute
	Burst      int           // size of the bucket
	Remaining  int           // requests that would be allowed right now
	RetryAfter time.Duration // until the next one is allowed; 0 when it is
	Reset      time.Duration // until the bucket is full again
}

// New makes a limiter, or nil for perMinute = 0.
func New[K comparable](perMinute, burst int) *Limiter[K] {
	if perMinute == 0 {
		return nil
	}
	perSecond := float64(perMinute) / 60
	return &Limiter[K]{
		perMinute: perMinute, burst: burst,
		fill:  time.Duration(float64(burst) / perSecond * float64(time.Second)),
		young: make(map[K]*rate.Limiter),
	}
}

// Take draws one token from the caller's bucket, if there is one.
func (l *Limiter[K]) Take(caller K, now time.Time) Decision {
	bucket := l.bucket(caller, now)
	allowed := bucket.AllowN(now, 1)
	tokens := bucket.TokensAt(now)
	perSecond := float64(l.perMinute) / 60
	wait := func(missing float64) time.Duration {
		return time.Duration(math.Max(0, missing) / perSecond * float64(time.Second))
	}
	d := Decision{
		Allowed: allowed, Limit: l.perMinute, Burst: l.burst,
		Remaining: int(math.Max(0, math.Floor(tokens))),
		Reset:     wait(float64(l.burst) - tokens),
	}
	if !allowed {
		d.RetryAfter = wait(1 - tokens)
	}
	return d
}

func (l *Limiter[K]) bucket(caller K, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.rotated) >= l.fill {
		l.old, l.young, l.rotated = l.young, make(map[K]*rate.Limiter), now
	}
	b, ok := l.young[caller]
	if !ok {
		if b, ok = l.old[caller]; !ok {
			b = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.burst)
		}
		l.young[caller] = b
	}
	return b
}
