package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/toolbridge/toolbridge-mcp/api/internal/config"
)

// healthcheck asks the API of this machine, so that a container needs no curl.
func healthcheck(c config.Config) int {
	host, port, err := net.SplitHostPort(c.HTTPAddr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "unhealthy: HTTP_ADDR is not host:port")
		return exitUsage
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	client := &http.Client{Timeout: 3 * time.Second}
	answer, err := client.Get("http://" + net.JoinHostPort(host, port) + "/readyz")
	if err != nil {
		fmt.Fprintln(os.Stderr, "unhealthy:", err)
		return 1
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, "unhealthy: /readyz answered", answer.Status)
		return 1
	}
	fmt.Println("healthy")
	return 0
}

// release is set at build time: -ldflags "-X main.release=1.2.3".
var release = "0.1.0-dev"

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return release + "+" + s.Value[:12]
			}
		}
	}
	return release
}
