package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/delta"
)

// Batch is a list of writes of one user, in one transaction.
type Batch struct {
	Steps  []Step
	Atomic bool // one refused step undoes all
	DryRun bool // all are undone when they have been made
	// Refused reports whether an error is one of a step, and not one of all of them, such as an
	// unavailable database.
	Refused func(error) bool
	// With a Key, the answer is remembered, and given again for the same key and the same Body.
	Key    string
	Body   []byte // hash of the request's body
	Answer func([]Outcome) []byte
}

// Step is one write. Later steps see what earlier ones have written.
type Step struct {
	Kind, UID string
	Change    Change
}

// Outcome is what became of a step. The item is without its payload.
type Outcome struct {
	Item Item
	Err  error
}

// StepError says which step of an atomic batch was refused.
type StepError struct {
	Step int
	Err  error
}

func (e *StepError) Error() string { return fmt.Sprintf("step %d: %v", e.Step, e.Err) }

func (e *StepError) Unwrap() error { return e.Err }

// ErrKeyReused means that a key was used for another batch before.
var ErrKeyReused = errors.New("the key was used for another batch")

// RepeatAge is how long an answer is remembered.
const RepeatAge = 24 * time.Hour

// What is remembered for one user: answers of so many bytes, compressed, each counted as at least
// so many. The latest answer stays whatever its size. A row has what was ever kept before it, so
// that no write has to add up the others.
const (
	maxRepeatBytes = 8 << 20
	minRepeatBytes = 8 << 10
)

const maxAnswer = 16 << 20

var (
	// One move for all steps: as many times as there are steps, of which the last is returned.
	clockMoves = statement{"clock.moves", `
		UPDATE users SET clock = (CASE WHEN clock < $2 THEN $2 ELSE clock + 1 END) + $4 - 1
		WHERE id = $1 AND epoch = $3 RETURNING clock`}
	repeatFind = statement{"repeat.find", `
		SELECT body, answer FROM repeats WHERE owner = $1 AND key = $2 AND created > $3`}
	repeatPut = statement{"repeat.put", `
		INSERT INTO repeats (owner, key, created, body, answer, kept) VALUES ($1, $2, $3, $4, $5,
			COALESCE((SELECT MAX(kept) FROM repeats WHERE owner = $1), 0) + $6)
		ON CONFLICT (owner, key)
			DO UPDATE SET created = $3, body = $4, answer = $5, kept = excluded.kept`}
	repeatTrim = statement{"repeat.trim", `
		DELETE FROM repeats WHERE owner = $1
			AND kept <= (SELECT MAX(kept) FROM repeats WHERE owner = $1) - $2`}
	repeatWipe = statement{"repeat.wipe", `
		DELETE FROM repeats WHERE owner = $1`}
	repeatSweep = statement{"repeat.sweep", `
		DELETE FROM repeats WHERE (owner, key) IN (
			SELECT owner, key FROM repeats WHERE created <= $1 ORDER BY created LIMIT 200)`}
)

// errUndone ends a transaction that is not to be committed.
var errUndone = errors.New("undone")

// WriteBatch makes all writes of a batch, or gives the answer again that is remembered for its key.
func (c *common) WriteBatch(
	ctx context.Context,
	owner Owner,
	b Batch,
) (outcomes []Outcome, remembered []byte, err error) {
	var last int64 // remains 0 when the epoch is over
	now := c.now().UnixMilli()
	first := []question{
		{
			clockMoves,
			[]any{owner.ID, now, owner.Epoch, len(b.Steps)},
			func(r rows) error { return r.Scan(&last) },
		},
	}
	var body, answer []byte
	if b.Key != "" {
		first = append(first, question{
			repeatFind,
			[]any{owner.ID, b.Key, now - RepeatAge.Milliseconds()},
			func(r rows) error { return r.Scan(&body, &answer) },
		})
	}
	err = c.db.write(ctx, work{first: first, then: func(tx connection) ([]command, error) {
		switch {
		case last == 0:
			return nil, ErrStaleEpoch
		case body != nil && !bytes.Equal(body, b.Body):
			return nil, ErrKeyReused
		case body != nil:
			if remembered, err = delta.Decode(answer, nil, maxAnswer); err != nil {
				return nil, err
			}
			return nil, errUndone
		}
		at := last - int64(len(b.Steps)) + 1
		for n, step := range b.Steps {
			out, err := c.step(ctx, tx, owner.ID, step, at+int64(n))
			switch {
			case err != nil && !b.Refused(err):
				return nil, err
			case err != nil && b.Atomic:
				return nil, &StepError{n, err}
			}
			outcomes = append(outcomes, Outcome{out, err})
		}
		switch {
		case b.DryRun:
			return nil, errUndone
		case b.Key == "":
			return nil, nil
		}
		packed := delta.Encode(b.Answer(outcomes), nil)
		return []command{
			{
				repeatPut,
				[]any{owner.ID, b.Key, now, b.Body, packed, max(len(packed), minRepeatBytes)},
			},
			{repeatTrim, []any{owner.ID, maxRepeatBytes}},
		}, nil
	}})
	if errors.Is(err, errUndone) {
		err = nil
	}
	return outcomes, remembered, c.mark(err)
}

// step makes one write. When it fails, it has not changed anything.
func (c *common) step(
	ctx context.Context,
	tx connection,
	owner int64,
	s Step,
	at int64,
) (Item, error) {
	current, err := findItem(ctx, tx, owner, s.Kind, s.UID)
	if err != nil {
		return Item{}, err
	}
	item, commands, err := c.changed(
		transaction{ctx: ctx, c: tx, owner: owner},
		s.Kind,
		s.UID,
		current,
		at,
		s.Change,
	)
	if err != nil {
		return Item{}, err
	}
	for _, do := range commands {
		if _, err := run(ctx, tx, do.statement, do.args...); err != nil {
			return Item{}, err // of the database, so it ends the batch
		}
	}
	item.Payload = nil
	return item, nil
}

// SweepRepeats forgets some of the answers that are old enough, and returns how many.
func (c *common) SweepRepeats(ctx context.Context) (int64, error) {
	var removed int64
	err := c.db.write(ctx, work{then: func(tx connection) ([]command, error) {
		var err error
		removed, err = run(ctx, tx, repeatSweep, c.now().Add(-RepeatAge).UnixMilli())
		return nil, err
	}})
	return removed, c.mark(err)
}
