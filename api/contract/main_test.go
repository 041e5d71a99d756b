// Package contract holds docs/API-CONTRACT.md as tests that talk HTTP to a base URL.
//
// Without configuration the suite builds cmd/toolbridge-api and starts it: once on SQLite, and once
// more on PostgreSQL when TEST_POSTGRES_URL names a server on which it may create databases. Tests
// that need unusual settings start a server of their own.
//
// The suite can also be pointed at any server of the family:
//
//	TOOLBRIDGE_CONTRACT_URL            base URL; nothing is built or started
//	TOOLBRIDGE_CONTRACT_JWT_SECRET     HS256 secret of that server
//	TOOLBRIDGE_CONTRACT_TENANT_SECRET  tenant header secret of that server; empty: not checked
//	TOOLBRIDGE_CONTRACT_FAMILY=1       leave out what only our server does
//	                                   (the family lines of the page)
//
// Further settings: TOOLBRIDGE_REQUIRE_POSTGRES=1 makes a run without PostgreSQL fail,
// TOOLBRIDGE_CONTRACT_RACE=1 builds the server with the race detector and fails on what it finds.
package contract

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
)

// A backend is one row of the table that every test runs through.
type backend struct {
	name   string
	shared *server // ordinary settings, no rate limit
	// database makes the URL of a new, empty database; nil when the server is not ours to start.
	database func() (string, error)
}

var (
	backends []*backend
	binary   string // the server that this run built
	plain    string // the same without the race detector
	scratch  string // removed when the run ends
	raceMode = os.Getenv("TOOLBRIDGE_CONTRACT_RACE") == "1"
	family   = os.Getenv("TOOLBRIDGE_CONTRACT_FAMILY") == "1"
)

func TestMain(m *testing.M) {
	os.Exit(runSuite(m))
}

func runSuite(m *testing.M) (code int) {
	fail := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "contract: "+format+"\n", args...)
		code = 1
	}
	defer printOmissions()

	if url := os.Getenv("TOOLBRIDGE_CONTRACT_URL"); url != "" {
		backends = []*backend{{name: "remote", shared: &server{
			base:         strings.TrimRight(url, "/"),
			jwtSecret:    os.Getenv("TOOLBRIDGE_CONTRACT_JWT_SECRET"),
			tenantSecret: os.Getenv("TOOLBRIDGE_CONTRACT_TENANT_SECRET"),
			remote:       true,
		}}}
		return m.Run()
	}

	var err error
	if scratch, err = os.MkdirTemp("", "toolbridge-contract-"); err != nil {
		fail("%v", err)
		return
	}
	defer os.RemoveAll(scratch)
	if err := buildServer(); err != nil {
		fail("%v", err)
		return
	}

	backends = append(backends, &backend{name: "sqlite", database: newSQLite})
	if url := os.Getenv("TEST_POSTGRES_URL"); url != "" {
		backends = append(backends, &backend{name: "postgres", database: newPostgres})
		defer func() {
			if err := dropDatabases(); err != nil {
				fail("%v", err)
			}
		}()
	} else {
		omit("PostgreSQL was NOT run: TEST_POSTGRES_URL is not set")
		if os.Getenv("TOOLBRIDGE_REQUIRE_POSTGRES") == "1" {
			fail("TOOLBRIDGE_REQUIRE_POSTGRES=1, but TEST_POSTGRES_URL is not set")
			return
		}
	}
	for _, b := range backends {
		s, err := startServer(b, settings{"RATE_LIMIT_PER_MINUTE": "0"})
		if err != nil {
			fail("%s: %v", b.name, err)
			return
		}
		b.shared = s
		defer func() {
			if err := s.stop(); err != nil {
				fail("%s: %v", b.name, err)
			}
			// Whatever the tests did, the index must hold what the items say.
			if out, err := checkIndex(s.env); err != nil {
				fail("%s: check --index: %v\n%s", b.name, err, out)
			}
		}()
	}
	return m.Run()
}

// buildServer builds the server, with the race detector where the suite was asked for it, and
// without.
func buildServer() error {
	binary = filepath.Join(scratch, "toolbridge-api")
	plain = binary
	if raceMode {
		plain = filepath.Join(scratch, "toolbridge-api-plain")
		if err := build(binary, "-race"); err != nil {
			return err
		}
	}
	return build(plain)
}

func build(to string, flags ...string) error {
	args := append([]string{"build", "-o", to}, flags...)
	build := exec.Command("go", append(args, "./cmd/toolbridge-api")...)
	build.Dir = ".." // the module root: tests run in their own folder
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/toolbridge-api: %w\n%s", err, out)
	}
	return nil
}

func newSQLite() (string, error) {
	dir, err := os.MkdirTemp(scratch, "sqlite-")
	if err != nil {
		return "", err
	}
	return "sqlite://" + filepath.Join(dir, "toolbridge.db"), nil
}

// onEach runs a test on every backend's shared server.
func onEach(t *testing.T, test func(t *testing.T, api *server)) {
	t.Helper()
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			test(t, b.shared)
		})
	}
}

// onEachEntity runs a test for every entity on every backend's shared server.
func onEachEntity(t *testing.T, test func(t *testing.T, api *server, e entity)) {
	t.Helper()
	onEach(t, func(t *testing.T, api *server) {
		for _, e := range entities {
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				test(t, api, e)
			})
		}
	})
}

// onOwn runs a test on every backend, each time with a server of its own that has the given
// settings.
func onOwn(t *testing.T, env settings, test func(t *testing.T, api *server)) {
	t.Helper()
	onEachOurs(t, func(t *testing.T, b *backend) {
		test(t, launch(t, b, env))
	})
}

// onEachOurs runs a test on every backend of which this run can start servers.
func onEachOurs(t *testing.T, test func(t *testing.T, b *backend)) {
	t.Helper()
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			if b.database == nil {
				leaveOut(t, "needs a server that the suite starts itself")
			}
			test(t, b)
		})
	}
}

// oursOnly leaves the test out when the server is one of the family that may differ here.
func oursOnly(t *testing.T, what string) {
	t.Helper()
	if family {
		leaveOut(t, "family servers differ: "+what)
	}
}

func leaveOut(t *testing.T, why string) {
	t.Helper()
	omit(t.Name() + ": " + why)
	t.Skip(why)
}

var omissions struct {
	sync.Mutex
	lines []string
}

func omit(line string) {
	omissions.Lock()
	defer omissions.Unlock()
	omissions.lines = append(omissions.lines, line)
}

func printOmissions() {
	omissions.Lock()
	defer omissions.Unlock()
	sort.Strings(omissions.lines)
	for _, line := range omissions.lines {
		fmt.Println("contract: left out:", line)
	}
}
