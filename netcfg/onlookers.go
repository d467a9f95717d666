package netcfg

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// onlookers knows what else on the host looks at packets that it forwards. It is made
// to be asked often: while nobody looks, an answer costs one question to the kernel,
// whether its nft tables are what they were. Its methods may be called from any
// goroutine, by one at a time, on a thread of the namespace that it was opened in.
//
// Not known are programs of BPF at netfilter's hooks (since Linux 6.4), and modules with
// hooks of their own: what would list them, nfnetlink_hook, few kernels have. Where there
// are such, the configuration has to say "shortcut: off". What looks at the ingress of
// a device before nft does, as tcpdump, tc and XDP, sees everything.
type onlookers struct {
	ours   []string       // names of our nft tables
	nft    *asker         // tells the generation of the nft tables
	xfrm   *asker         // tells of IPsec; nil: the kernel has none
	lister *nftables.Conn // lists chains
	due    time.Time      // when all are looked for again
	seen   uint32         // the generation that chain is true of; 0: none yet
	fresh  bool           // chain was read only once since it changed
	chain  string         // an nft chain that looks; "": none
	others string         // something else that looks; "": nothing
}

// onlookersFor is how long an onlooker that is gone may still be named, and one that
// is not an nft chain may go unseen.
const onlookersFor = time.Second

// openOnlookers opens the connections to the kernel, in the namespace of the calling
// thread. Our own tables have these names.
func openOnlookers(names Names) (*onlookers, error) {
	table := names.withDefaults().Table
	o := &onlookers{
		ours:  []string{table, table + "_untrack", table + "_doctor"},
		chain: "nft tables that change while they are read", // until they were read once
	}
	var err error
	if o.nft, err = openAsker(unix.NETLINK_NETFILTER); err != nil {
		return nil, fmt.Errorf("netcfg: onlookers: netlink to nf_tables: %w", err)
	}
	// Listing needs no select(2): see maxSocket.
	if o.lister, err = nftables.New(nftables.AsLasting()); err != nil {
		return nil, errors.Join(fmt.Errorf("netcfg: onlookers: netlink to nf_tables: %w", err), o.close())
	}
	o.xfrm, err = openAsker(unix.NETLINK_XFRM)
	if err != nil && !errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, errors.Join(fmt.Errorf("netcfg: onlookers: netlink to IPsec: %w", err), o.close())
	}
	return o, nil
}

// close closes the connections.
func (o *onlookers) close() error {
	errs := []error{o.nft.close()}
	if o.lister != nil {
		errs = append(errs, o.lister.CloseLasting())
	}
	if o.xfrm != nil {
		errs = append(errs, o.xfrm.close())
	}
	return errors.Join(errs...)
}

// look names what on the host looks at packets that are forwarded, beside our own
// tables: it would not see those that take the shortcut. Empty: nobody. A chain that
// is new is named by the next look, other onlookers within onlookersFor, as are those
// that are gone. When it fails it has not looked, and somebody may.
func (o *onlookers) look() (who string, err error) {
	now := time.Now()
	due := !now.Before(o.due)
	if who = o.found(); who != "" && !due {
		return who, nil
	}
	generation, err := o.generation()
	if err != nil {
		return "", err
	}
	// The kernel names a generation an instant before it lists its chains: so they
	// are read once more a little later.
	if changed := generation != o.seen; changed || due && o.fresh {
		if err := o.readChains(generation); err != nil {
			return "", err
		}
		o.fresh = changed
	}
	if due {
		if o.others, err = o.lookElsewhere(); err != nil {
			return "", err
		}
		o.due = now.Add(onlookersFor)
	}
	return o.found(), nil
}

// found gives the first of those that were seen.
func (o *onlookers) found() string { return cmp.Or(o.chain, o.others) }

// readChains looks for a chain that looks, in tables of this generation or a later
// one.
func (o *onlookers) readChains(generation uint32) error {
	chains, err := o.lister.ListChains()
	if err != nil {
		return fmt.Errorf("netcfg: onlookers: nft chains: %w", err)
	}
	after, err := o.generation()
	if err != nil {
		return err
	}
	chain := ""
	if i := slices.IndexFunc(chains, o.looks); i >= 0 {
		chain = chainName(chains[i])
	}
	// A list that was made while tables changed may lack some: that nobody is in
	// it shows nothing. They are read again by the next look.
	if chain != "" || after == generation {
		o.chain = chain
	}
	o.seen = generation
	return nil
}

// generation asks for the number of the last change of any nft table.
func (o *onlookers) generation() (uint32, error) {
	const toNFTables = unix.NFNL_SUBSYS_NFTABLES << 8
	// The header is a struct nfgenmsg (linux/netfilter/nfnetlink.h).
	answer, err := o.nft.ask(toNFTables|unix.NFT_MSG_GETGEN, unix.NFTA_GEN_ID, 4)
	if err != nil {
		return 0, fmt.Errorf("netcfg: onlookers: generation of the nft tables: %w", err)
	}
	return binary.BigEndian.Uint32(answer), nil
}

// inetIngress is the hook of an inet chain at the ingress of a device
// (NF_INET_INGRESS of linux/netfilter.h). In the family netdev it is another number.
const inetIngress = unix.NF_INET_NUMHOOKS

// forwardHooks are the hooks that what is forwarded passes in a family of IP.
var forwardHooks = map[nftables.ChainHook]string{
	unix.NF_INET_PRE_ROUTING:  "prerouting",
	unix.NF_INET_FORWARD:      "forward",
	unix.NF_INET_POST_ROUTING: "postrouting",
	inetIngress:               "ingress", // only in inet
}

// watched are the families of nft tables, and their hooks, whose chains see what is
// forwarded. What is bridged does not come to us, and arp carries no TCP.
var watched = map[nftables.TableFamily]struct {
	name  string
	hooks map[nftables.ChainHook]string
}{
	nftables.TableFamilyINet: {"inet", forwardHooks},
	nftables.TableFamilyIPv4: {"ip", forwardHooks},
	nftables.TableFamilyIPv6: {"ip6", forwardHooks},
	nftables.TableFamilyNetdev: {"netdev", map[nftables.ChainHook]string{
		unix.NF_NETDEV_INGRESS: "ingress",
		unix.NF_NETDEV_EGRESS:  "egress",
	}},
}

// looks says whether a chain is not ours and sees what is forwarded.
func (o *onlookers) looks(c *nftables.Chain) bool {
	family := c.Table.Family
	if (family == nftables.TableFamilyINet || family == nftables.TableFamilyNetdev) && slices.Contains(o.ours, c.Table.Name) {
		return false
	}
	return c.Hooknum != nil && watched[family].hooks[*c.Hooknum] != ""
}

// chainName says where to find a chain that looks.
func chainName(c *nftables.Chain) string {
	f := watched[c.Table.Family]
	return fmt.Sprintf("chain %s of nft table %s %s (hook %s)", c.Name, f.name, c.Table.Name, f.hooks[*c.Hooknum])
}

// lookElsewhere names an onlooker that is no nft chain.
func (o *onlookers) lookElsewhere() (who string, err error) {
	for _, legacy := range []struct{ file, program string }{{"ip_tables_names", "iptables"}, {"ip6_tables_names", "ip6tables"}} {
		tables, err := readNet(legacy.file)
		if err != nil {
			return "", err
		}
		if first, _, _ := strings.Cut(tables, "\n"); first != "" {
			return fmt.Sprintf("legacy %s, table %s", legacy.program, first), nil
		}
	}
	policies, err := o.policies()
	if err != nil {
		return "", err
	}
	if policies > 0 {
		return fmt.Sprintf("IPsec, policies: %d", policies), nil
	}
	balancer, err := readNet("ip_vs")
	if err != nil {
		return "", err
	}
	if balances(balancer) {
		return "IPVS", nil
	}
	return "", nil
}

// policies counts the IPsec policies of the host. Those that a socket has for itself
// are not among them.
func (o *onlookers) policies() (n int, err error) {
	if o.xfrm == nil {
		return 0, nil
	}
	// The header is flags, all reserved. The answer is a struct xfrmu_spdinfo: how
	// many are for what comes in, goes out and is forwarded, and then the same for
	// those of sockets (linux/xfrm.h).
	const question, info, counts = 0x25, 1, 3 // XFRM_MSG_GETSPDINFO, XFRMA_SPD_INFO
	answer, err := o.xfrm.ask(question, info, 4*counts)
	if err != nil {
		return 0, fmt.Errorf("netcfg: onlookers: IPsec policies: %w", err)
	}
	for i := range counts {
		n += int(binary.NativeEndian.Uint32(answer[4*i:]))
	}
	return n, nil
}

// balances says whether a list of IPVS has a service behind its three lines of titles.
func balances(list string) bool { return strings.Count(list, "\n") > 3 }

// readNet reads the first few kilobytes of a file that the kernel has for each network
// namespace; "" if it does not have this one.
func readNet(name string) (string, error) {
	f, err := os.Open(filepath.Join("/proc/thread-self/net", name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("netcfg: onlookers: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", fmt.Errorf("netcfg: onlookers: %w", err)
	}
	return string(b), nil
}
