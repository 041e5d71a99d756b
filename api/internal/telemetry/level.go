package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// moreFor limits the debug level, so that a forgotten one does not fill the disk.
const moreFor = 15 * time.Minute

// ChangeLevel logs at debug for a while on a signal, or ends that, until ctx ends. The MCP server
// does the same (src/telemetry/level.rs).
func ChangeLevel(
	ctx context.Context,
	level *slog.LevelVar,
	asked <-chan os.Signal,
	log *slog.Logger,
) {
	configured := level.Level()
	var over <-chan time.Time
	back := func(why string) {
		// Logged first: afterwards the level might be too high.
		log.Info(fmt.Sprintf("%s: logging at %s again", why, strings.ToLower(configured.String())))
		level.Set(configured)
		over = nil
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-over:
			back("the time is over")
		case <-asked:
			if over != nil {
				back("SIGUSR1")
				continue
			}
			over = time.After(moreFor)
			level.Set(slog.LevelDebug)
			log.Info(
				fmt.Sprintf(
					"SIGUSR1: logging at debug for %d minutes; another one ends it",
					int(moreFor.Minutes()),
				),
			)
		}
	}
}
