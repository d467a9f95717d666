package e2e

import (
	"accd/netcfg/netlab"
	"encoding/json"
	"os/exec"
"os"
	"testing"
	"time"

	"accd/lab"
)

func TestDebugTimeout(t *testing.T) {
	n := newNetwork(t, shape{emulated: true})
	n.impair(lab.Path{Rate: 20e6, Delay: 5 * time.Millisecond})
	d := n.startAccd(config{steering: "flow_timeout: 5s"})
	var streams []*stream
	for _, f := range families {
		streams = append(streams, n.startStream(f, false), n.startStream(f, true))
	}
	for range 10 {
		time.Sleep(time.Second)
		var f struct{ Flows []map[string]any }
		d.get("/v1/flows", &f)
		for _, x := range f.Flows {
			c, s := x["client_leg"].(map[string]any), x["server_leg"].(map[string]any)
			t.Log(x["client"], x["state"], "up", c["taken_bytes"], c["passed_bytes"], "down", s["taken_bytes"], s["passed_bytes"])
		}
		b, _ := json.Marshal(d.status().Terminator)
		t.Log(string(b), marks(streams))
		t.Log(sh(t, n.box, "nft list set inet accd flows4"))
	}
	finishAll(streams, patience)
}

func ctdump(t *testing.T, ns *netlab.Namespace) {
	os.WriteFile("/tmp/w/e2e_ct.txt", []byte(sh(t, ns, "conntrack -L -p tcp")), 0o644)
	f, _ := os.Create("/tmp/w/e2e_cte.txt")
	cmd := exec.Command("conntrack", "-E", "-p", "tcp", "-o", "timestamp")
	cmd.Stdout = f
	must(t, ns.Start(cmd))
	time.Sleep(300*time.Millisecond)
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}
func dump(t *testing.T, ns *netlab.Namespace) {
	cmd := exec.Command("tcpdump", "-ni", "eth0", "-U", "-w", "/tmp/w/e2e.pcap", "src net 10.1.0.0/24 or src net 2001:db8:1::/64")
	must(t, ns.Start(cmd))
	time.Sleep(300 * time.Millisecond)
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}
