// Command example is net/http on accd's TCP: it makes a tap, gives the kernel one
// address on it and itself another, serves pages to whoever asks, and with -get
// fetches one from a server of the kernel's.
//
//	sudo go run ./tcpstack/tcpnet/example &
//	curl http://10.9.0.2/
//	sudo go run ./tcpstack/tcpnet/example -tap tcpnet1 -net 10.9.1.0/24 -get http://10.9.1.1/
//
// The tap and its addresses are gone when it ends.
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"accd/netcfg"
	"accd/tcpstack/tcpnet"
	"accd/terminator/link"
)

func main() {
	log.SetFlags(0)
	tap := flag.String("tap", "tcpnet0", "name of the tap to make")
	network := flag.String("net", "10.9.0.0/24", "its network: the first address is the kernel's, the second ours")
	get := flag.String("get", "", "fetch this URL (with an address, not a name), write it to standard output and end")
	flag.Parse()
	if err := run(*tap, *network, *get); err != nil {
		log.Fatal("example: ", err)
	}
}

func run(tap, network, get string) error {
	subnet, err := netip.ParsePrefix(network)
	if err != nil {
		return fmt.Errorf("-net: %w", err)
	}
	kernel := subnet.Masked().Addr().Next()
	ours := kernel.Next()

	// A tap, and the kernel's end of it.
	device, err := netcfg.OpenTap(netcfg.TapOptions{Name: tap, MTU: 1500})
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"address", "add", netip.PrefixFrom(kernel, subnet.Bits()).String(), "dev", tap, "nodad"},
		{"link", "set", tap, "up"},
	} {
		if kernel.Is4() && args[0] == "address" {
			args = args[:len(args)-1]
		}
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return errors.Join(fmt.Errorf("ip %v: %w: %s", args, err, out), device.Close())
		}
	}

	// Our end: TCP in this process.
	queue, err := link.NewTap(device.Files[0], device.MTU, device.Offload)
	if err != nil {
		return err
	}
	stack, err := tcpnet.New(tcpnet.Config{Queue: queue, Addrs: []netip.Prefix{netip.PrefixFrom(ours, subnet.Bits())}})
	if err != nil {
		return errors.Join(err, queue.Close())
	}
	defer stack.Close()

	if get != "" {
		client := http.Client{Transport: &http.Transport{DialContext: stack.DialContext}}
		r, err := client.Get(get)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		_, err = io.Copy(os.Stdout, r.Body)
		return err
	}

	// What comes in is answered with its length and hash; / says hello.
	handler := http.NewServeMux()
	handler.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello %s, this is %s on a TCP of its own.\n", r.RemoteAddr, r.Host)
	})
	handler.HandleFunc("PUT /", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%d %x\n", n, h.Sum(nil))
	})
	listener, err := stack.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		server.Close()
	}()
	log.Printf("http://%s/ is served", ours)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
