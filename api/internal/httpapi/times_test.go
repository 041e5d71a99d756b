package httpapi

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Every day of ten thousand years has the date that package time gives it, and so has any moment.
func TestTimesAreThoseOfTheCalendar(t *testing.T) {
	check := func(ms int64) {
		if got, want := formatMillis(ms), time.UnixMilli(ms).UTC().Format(timeFormat); got != want {
			t.Fatalf("%d: got %s, want %s", ms, got, want)
		}
	}
	for ms := int64(-10 * millisOfDay); ms < lastMillis+10*millisOfDay; ms += millisOfDay {
		check(ms)
	}
	dice := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		check(dice.Int64N(lastMillis))
	}
	for _, ms := range []int64{-1, 0, 1, lastMillis, lastMillis + 1} {
		check(ms)
	}
}

func BenchmarkFormatMillis(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		formatMillis(1763636400123)
	}
}
