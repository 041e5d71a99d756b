package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
)

// checkIndex compares each item with what the search index holds of it.
func checkIndex(c config.Config) int {
	ctx := context.Background()
	db, err := openStore(ctx, c.Database, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Fprintln(os.Stderr, "toolbridge-api: the database cannot be opened:", err)
		return exitUnavailable
	}
	defer db.Close()
	report, err := db.CheckIndex(ctx)
	for _, fault := range report.Faults {
		fmt.Println(fault)
	}
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "toolbridge-api: the check was not finished:", err)
		return exitUnavailable
	case len(report.Faults) > 0:
		fmt.Println("the index and the items differ")
		return 1
	}
	fmt.Printf(
		"the index agrees with %d items; %d are not indexed yet\n",
		report.Items-report.Missing,
		report.Missing,
	)
	return 0
}
