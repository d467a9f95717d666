package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/rawfile"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// Constants of linux/virtio_net.h.
const (
	vnetLen       = 10
	vnetNeedsCsum = 1
	vnetGSOTCPv4  = 1
)

// gsoMax is the payload of a superpacket at most, in bytes.
const gsoMax = 65535 - header.IPv4MaximumHeaderSize - header.TCPHeaderMaximumSize

// tap is a stack's device on the queues of a tap with virtio-net headers:
// superpackets and partial checksums in both directions. fdbased, gVisor's own
// endpoint for files, has that for packet sockets only.
type tap struct {
	fds        []int
	mac        net.HardwareAddr // of the device: what comes out of it has to be for the host
	mtu        uint32
	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
	readers    sync.WaitGroup
	never      int // an event that does not come: the readers end with the process
}

func newTap(fds []int, mac string, mtu uint32) (*tap, error) {
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return nil, err
	}
	never, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return &tap{fds: fds, mac: hw, mtu: mtu, never: never}, err
}

func (t *tap) MTU() uint32                             { return t.mtu }
func (t *tap) SetMTU(mtu uint32)                       { t.mtu = mtu }
func (t *tap) MaxHeaderLength() uint16                 { return vnetLen + header.EthernetMinimumSize }
func (t *tap) LinkAddress() tcpip.LinkAddress          { return "" }
func (t *tap) SetLinkAddress(tcpip.LinkAddress)        {}
func (t *tap) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (t *tap) AddHeader(*stack.PacketBuffer)           {}
func (t *tap) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (t *tap) Wait()                                   { t.readers.Wait() }
func (t *tap) Close()                                  {}
func (t *tap) SetOnCloseAction(func())                 {}
func (t *tap) GSOMaxSize() uint32                      { return gsoMax }
func (t *tap) SupportedGSO() stack.SupportedGSO        { return stack.HostGSOSupported }
func (t *tap) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// IsAttached reports whether somebody takes the packets.
func (t *tap) IsAttached() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.dispatcher != nil
}

// Attach starts to read.
func (t *tap) Attach(d stack.NetworkDispatcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dispatcher = d
	if d == nil {
		return // the process is about to end
	}
	for _, fd := range t.fds {
		t.readers.Go(func() {
			if err := t.read(fd, d); err != nil {
				fmt.Fprintln(os.Stderr, "gvisor: read from tap:", err)
				os.Exit(1)
			}
		})
	}
}

// read hands the packets of a queue to the stack.
func (t *tap) read(fd int, d stack.NetworkDispatcher) error {
	// Most packets fit into the first view, superpackets take all of them.
	sizes := [...]int{2 << 10, 16 << 10, 16 << 10, 32 << 10}
	var views [len(sizes)]*buffer.View
	var head [vnetLen + header.EthernetMinimumSize]byte
	iov := make([]unix.Iovec, 1+len(sizes))
	iov[0].Base = &head[0]
	iov[0].SetLen(len(head))
	for {
		for i, v := range views {
			if v == nil {
				views[i] = buffer.NewViewSize(sizes[i])
				iov[1+i].Base = views[i].BasePtr()
				iov[1+i].SetLen(sizes[i])
			}
		}
		n, errno := rawfile.BlockingReadvUntilStopped(t.never, fd, iov)
		if errno != 0 {
			return errno
		}
		rest := n - len(head)
		if rest <= 0 || binary.BigEndian.Uint16(head[len(head)-2:]) != unix.ETH_P_IP {
			continue
		}
		var packet buffer.Buffer
		for i := 0; rest > 0; i++ {
			views[i].CapLength(min(rest, sizes[i]))
			rest -= sizes[i]
			if err := packet.Append(views[i]); err != nil {
				return err
			}
			views[i] = nil
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: packet})
		d.DeliverNetworkPacket(header.IPv4ProtocolNumber, pkt)
		pkt.DecRef()
	}
}

// WritePackets writes each packet with one system call. All packets of a
// connection leave by the same queue.
func (t *tap) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	var iov []unix.Iovec
	for i, pkt := range list.AsSlice() {
		head := t.head(pkt)
		iov = rawfile.AppendIovecFromBytes(iov[:0], head[:], rawfile.MaxIovs)
		for _, s := range pkt.AsSlices() {
			iov = rawfile.AppendIovecFromBytes(iov, s, rawfile.MaxIovs)
		}
		if errno := rawfile.NonBlockingWriteIovec(t.fds[pkt.Hash%uint32(len(t.fds))], iov); errno != 0 {
			return i, tcpip.TranslateErrno(errno)
		}
	}
	return list.Len(), nil
}

// head makes a packet's virtio-net and Ethernet headers.
func (t *tap) head(pkt *stack.PacketBuffer) (h [vnetLen + header.EthernetMinimumSize]byte) {
	copy(h[vnetLen:], t.mac)
	binary.BigEndian.PutUint16(h[len(h)-2:], unix.ETH_P_IP)
	o := pkt.GSOOptions
	if o.Type == stack.GSONone {
		return h
	}
	binary.LittleEndian.PutUint16(h[2:], header.EthernetMinimumSize+uint16(pkt.HeaderSize()))
	if o.NeedsCsum {
		h[0] = vnetNeedsCsum
		binary.LittleEndian.PutUint16(h[6:], header.EthernetMinimumSize+o.L3HdrLen)
		binary.LittleEndian.PutUint16(h[8:], o.CsumOffset)
	}
	if pkt.Data().Size() > int(o.MSS) {
		h[1] = vnetGSOTCPv4
		binary.LittleEndian.PutUint16(h[4:], o.MSS)
	}
	return h
}
