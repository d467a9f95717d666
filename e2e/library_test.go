package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The library without accd: net/http on a TCP of its own serves the kernel's curl
// and fetches from nginx, over a tap.
func TestLibrary(t *testing.T) {
	const size = 64 * mib
	n := newNetwork(t, shape{})
	n.startNginx(size)
	example := filepath.Join(n.dir, "example")
	out, err := exec.Command("go", "build", "-o", example, "accd/tcpstack/tcpnet/example").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	file, err := patternFile(size)
	must(t, err)
	data, err := os.ReadFile(file)
	must(t, err)
	want := sha256.Sum256(data)

	for i, network := range []string{"10.9.%d.0/24", "fd00:9:%d::/64"} {
		t.Run([]string{"v4", "v6"}[i], func(t *testing.T) {
			// It serves.
			subnet := netip.MustParsePrefix(fmt.Sprintf(network, 1))
			ours := subnet.Addr().Next().Next()
			url := "http://" + netip.AddrPortFrom(ours, 80).String() + "/"
			log, err := os.Create(filepath.Join(n.dir, "example.log"))
			must(t, err)
			defer log.Close()
			said := func() string {
				b, err := os.ReadFile(log.Name())
				must(t, err)
				return string(b)
			}
			server := exec.Command(example, "-tap", "lib0", "-net", subnet.String())
			server.Stderr = log
			must(t, n.server.Start(server))
			defer func() {
				check(t, server.Process.Signal(syscall.SIGTERM))
				if err := server.Wait(); err != nil {
					t.Errorf("the example: %v\n%s", err, said())
				}
			}()
			if !await(patience, func() bool { return strings.Contains(said(), "is served") }) {
				t.Fatalf("the example does not serve: %s", said())
			}
			curl := program(t, "curl")
			answer := sh(t, n.server, curl+" -sS --max-time 20 "+url)
			if !strings.HasPrefix(answer, "Hello ") {
				t.Errorf("the example says %q", answer)
			}
			answer = sh(t, n.server, curl+" -sS --max-time 20 -T "+file+" "+url)
			if answer != fmt.Sprintf("%d %x\n", len(data), want) {
				t.Errorf("of %d bytes with hash %x the example got %s", len(data), want, answer)
			}

			// It fetches.
			subnet = netip.MustParsePrefix(fmt.Sprintf(network, 2))
			kernel := netip.AddrPortFrom(subnet.Addr().Next(), webPort)
			client := exec.Command(example, "-tap", "lib1", "-net", subnet.String(), "-get", fmt.Sprintf("http://%s/%s", kernel, filepath.Base(file)))
			h := sha256.New()
			client.Stdout, client.Stderr = h, log
			must(t, n.server.Start(client))
			if err := client.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, said())
			}
			if !bytes.Equal(h.Sum(nil), want[:]) {
				t.Error("what the example fetched has another hash")
			}
		})
	}
}
