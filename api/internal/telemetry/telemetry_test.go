package telemetry

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestALineIsOneObjectOrTextForPeople(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	NewLogger(file, Auto, slog.LevelInfo).Info("request", Tenant, "a\nb", Status, 200)
	text, _ := os.ReadFile(file.Name())
	var line map[string]any
	if err := json.Unmarshal(text, &line); err != nil {
		t.Fatalf("no terminal, and no JSON: %s", text)
	}
	if line[Message] != "request" || line[Level] != "INFO" || line[ServiceName] != Service ||
		line[Tenant] != "a\nb" ||
		line[Status] != 200.0 {
		t.Errorf("got %s", text)
	}

	var out bytes.Buffer
	log := NewLogger(&out, Pretty, slog.LevelInfo)
	log.With(Tenant, "acme").
		Warn("a \x1b[31mred\x1b[0m\nword", Error, "no \x1b[31m\ngood", Status, 200)
	log.Debug("unheard")
	when, rest, _ := strings.Cut(out.String(), " ")
	if _, err := time.Parse(time.RFC3339Nano, when); err != nil {
		t.Error(err)
	}
	want := " WARN a  [31mred [0m word tenant=acme error=\"no \\x1b[31m\\ngood\" status=200\n"
	if rest != want {
		t.Errorf("got %q, want %q", rest, want)
	}
}

func TestMoreIsLoggedForAWhileOrUntilItIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var level slog.LevelVar
		level.Set(slog.LevelWarn)
		asked := make(chan os.Signal)
		go ChangeLevel(t.Context(), &level, asked, NewLogger(&out, JSON, &level))
		ask := func() { asked <- os.Interrupt; synctest.Wait() }
		is := func(want slog.Level, when string) {
			t.Helper()
			if level.Level() != want {
				t.Errorf("%s at %s, want %s", when, level.Level(), want)
			}
		}

		ask()
		is(slog.LevelDebug, "asked for")
		time.Sleep(moreFor - time.Second)
		synctest.Wait()
		is(slog.LevelDebug, "a second before its end")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		is(slog.LevelWarn, "after it")

		ask()
		ask()
		is(slog.LevelWarn, "ended")
		// The time of one that was ended is not the end of the next.
		time.Sleep(moreFor / 2)
		ask()
		time.Sleep(moreFor/2 + time.Second)
		synctest.Wait()
		is(slog.LevelDebug, "asked for anew")

		for _, sentence := range []string{
			"SIGUSR1: logging at debug for 15 minutes; another one ends it",
			"SIGUSR1: logging at warn again",
			"the time is over: logging at warn again",
		} {
			if !strings.Contains(out.String(), sentence) {
				t.Errorf("nobody said %q", sentence)
			}
		}
	})
}

// Names of fields are constants of this package: a literal is a second declaration, and drifts.
func TestNoFieldIsNamedInPassing(t *testing.T) {
	said := map[string]int{"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "With": 0}
	calls := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			to, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !speaks(to.X) {
				return true
			}
			first, ok := said[to.Sel.Name]
			if !ok {
				return true
			}
			calls++
			for i := first; i < len(call.Args); i += 2 {
				if literal, ok := call.Args[i].(*ast.BasicLit); ok {
					t.Errorf("%s: %s", files.Position(literal.Pos()), literal.Value)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || calls < 10 {
		t.Errorf("%d lines of the log were looked at, %v", calls, err)
	}
}

// speaks reports whether this is a logger: they are all called log, or Log in a struct.
func speaks(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "log"
	case *ast.SelectorExpr:
		return x.Sel.Name == "Log"
	}
	return false
}
