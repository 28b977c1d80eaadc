// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// settleTime is how long to wait after the kernel's word of a change for more of
	// it, before the interfaces are looked at.
	settleTime = 20 * time.Millisecond
	// retryTime is when what went wrong is tried again.
	retryTime = 10 * time.Second
)

// taker is what captures on interfaces. The watcher's goroutine calls it.
type taker interface {
	// prepare does what comes before the first attach. That many interfaces are there.
	prepare(c *LiveConfig, interfaces int) error
	// attach begins to capture on an interface, or does so again after detach.
	attach(i *Interface, p plan, n *nic) (Attachment, error)
	// widen adds what a wider plan has, without a change of what there is.
	widen(i *Interface, p plan, n *nic) (Attachment, error)
	// detach ends it. The interface may be gone.
	detach(n *nic) error
	// rename is told of a new name, while the nic has the old one.
	rename(n *nic, to string)
	// forget is told that another interface gets the slot.
	forget(n *nic)
}

// watcher keeps a capture to the interfaces that are chosen, while these come, go and
// change their names. What it does follows from how things are, and not from what has
// happened to them: the kernel's messages say only when to look, and what to take for
// gone although it seems to be there again.
type watcher struct {
	config *LiveConfig
	choice interfaceChoice
	nics   *nics
	taker  taker
	say    sayer

	failed map[string]failure // by name

	news *interfaceNews
	done chan struct{} // closed at the end
	quit chan struct{} // closed by stop
}

// failure says what went wrong with an interface.
type failure struct {
	index int
	text  string
}

// device is what the choice needs to know of an interface.
func deviceOf(l netlink.Link) device {
	attrs := l.Attrs()
	d := device{
		name: attrs.Name, index: attrs.Index, kind: l.Type(), link: attrs.EncapType, master: attrs.MasterIndex,
		up: attrs.RawFlags&(unix.IFF_UP|unix.IFF_LOWER_UP) == unix.IFF_UP|unix.IFF_LOWER_UP,
	}
	if attrs.NetNsID < 0 && d.kind != "veth" { // else it is in another namespace, or the peer
		d.lower = attrs.ParentIndex
	}
	switch tunnel := l.(type) {
	case *netlink.Vxlan:
		d.port = tunnel.Port
	case *netlink.Geneve:
		d.port = int(tunnel.Dport)
	}
	return d
}

// listDevices lists the interfaces of the calling thread's network namespace.
func listDevices() ([]device, error) {
	for tries := 0; ; tries++ {
		list, err := netlink.LinkList()
		if errors.Is(err, netlink.ErrDumpInterrupted) && tries < 10 {
			continue // they changed meanwhile
		}
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, fmt.Errorf("listing the interfaces: %w", err)
		}
		devices := make([]device, len(list))
		for i, l := range list {
			devices[i] = deviceOf(l)
		}
		return devices, nil
	}
}

// open makes the configuration complete, begins to capture, and watches from then on.
func (w *watcher) open(c *LiveConfig, n *nics, t taker) error {
	if err := c.complete(); err != nil {
		return err
	}
	choice, err := parseChoice(c.Interfaces, c.All, c.NoTunnels)
	if err != nil {
		return err
	}
	w.config, w.choice, w.nics, w.taker = c, choice, n, t
	w.say, w.failed = sayer{warn: c.Warn}, map[string]failure{}
	namespace, err := openNamespace(c.Namespace)
	if err != nil {
		return err
	}
	defer namespace.Close()
	if c.Namespace == "" {
		err = w.begin()
	} else {
		err = runIn(namespace, w.begin)
	}
	if err != nil {
		return err
	}
	return w.start(namespace)
}

// begin captures on the interfaces that there are. What was named must be; of the others
// it says what can't be captured.
func (w *watcher) begin() error {
	devices, err := listDevices()
	if err != nil {
		return err
	}
	chosen := w.choice.choose(devices)
	interfaces, plans, err := w.plan(chosen)
	if err != nil {
		return err
	}
	if err := w.config.checkRights(plans); err != nil {
		return err
	}
	warnings(w.say.now, interfaces, plans, w.config.Identity)
	if w.config.Owners && !slices.ContainsFunc(plans, func(p plan) bool { return p.egress }) {
		w.say.now("--with process: " + noEgress)
	}
	if w.nics.slots = w.config.slots; w.nics.slots == 0 {
		w.nics.slots = slotsFor(max(len(chosen), len(w.choice.names)), w.choice.open())
	}
	if err := w.taker.prepare(w.config, max(len(interfaces), len(w.choice.names))); err != nil {
		return err
	}
	for k, i := range interfaces {
		_, err := w.carryOut(i, plans[k], time.Now())
		if err != nil && !w.failsAlone(i.Name, i.Index, err) {
			return err
		}
	}
	w.sayWhatIsNot(devices, chosen)
	w.recount(chosen)
	return nil
}

// plan finds out about the devices, and decides what to do on each.
func (w *watcher) plan(chosen []*device) (interfaces []*Interface, plans []plan, err error) {
	for _, name := range w.choice.names {
		if !slices.ContainsFunc(chosen, func(d *device) bool { return d.name == name }) && !w.config.Wait {
			return nil, nil, fmt.Errorf("%w %q; there are: %s (--wait waits for it)", errNoInterface, name, interfaceNames())
		}
	}
	for _, d := range chosen {
		i, err := findInterface(d.name)
		if err == nil {
			var p plan
			if p, err = w.config.plan(i); err == nil {
				interfaces, plans = append(interfaces, i), append(plans, p)
			}
		}
		if err != nil && !w.failsAlone(d.name, d.index, err) {
			return nil, nil, err
		}
	}
	return interfaces, plans, nil
}

// failsAlone says what is wrong with an interface that nobody has named, and false of
// one that somebody has.
func (w *watcher) failsAlone(name string, index int, err error) bool {
	if slices.Contains(w.choice.names, name) || errors.Is(err, errNoRights) {
		return false
	}
	w.failed[name] = failure{index, err.Error()}
	w.say.now(err.Error())
	return true
}

// sayWhatIsNot says at the start what is not captured, and what is twice.
func (w *watcher) sayWhatIsNot(devices []device, chosen []*device) {
	if out := w.choice.leftOut(devices); out != "" {
		w.say.now("--all leaves out " + out)
	}
	for _, name := range w.choice.names {
		if !slices.ContainsFunc(chosen, func(d *device) bool { return d.name == name }) {
			w.say.now("waiting for " + name)
		}
	}
	if len(chosen) == 0 && w.choice.open() {
		w.say.now("no interface matches " + w.choice.String() + ": waiting for one")
	}
	for _, d := range chosen {
		if twice := shownTwice(d, chosen); twice != "" && !w.config.Identity {
			w.say.now(twice)
		}
	}
}

// start watches the interfaces of namespace from now on.
func (w *watcher) start(namespace *os.File) error {
	w.quit, w.done = make(chan struct{}), make(chan struct{})
	ready := make(chan error)
	err := goIn(namespace, func() {
		defer close(w.done)
		var err error
		w.news, err = listenForNews()
		ready <- err
		if err == nil {
			w.run()
		}
	})
	if err == nil {
		err = <-ready
	}
	if err != nil {
		w.quit = nil
	}
	return err
}

// run looks at the interfaces whenever there is news, and first of all for what has
// changed meanwhile.
func (w *watcher) run() {
	go w.news.receive()
	defer w.news.close()
	timer, settling := time.NewTimer(0), true
	for {
		select {
		case <-w.quit:
			return
		case <-w.news.some:
			if !settling { // and not again: news may come without an end
				timer.Reset(settleTime)
				settling = true
			}
		case <-timer.C:
			w.look(time.Now())
			timer.Reset(retryTime)
			settling = false
		}
	}
}

// stop ends run, and returns when nothing is attached any more.
func (w *watcher) stop() {
	if w.quit == nil {
		return
	}
	close(w.quit)
	<-w.done
	w.quit = nil
}

// look brings the capture in line with the interfaces that there are.
func (w *watcher) look(now time.Time) {
	gone, addresses := w.news.take()
	devices, err := listDevices()
	if err != nil {
		w.say.at(now, err.Error())
		return
	}
	chosen := w.choice.choose(devices)
	for _, n := range w.nics.list {
		if n.index != 0 {
			w.follow(n, devices, chosen, gone, now)
		}
	}
	for _, d := range chosen {
		n := w.nics.captured(d.index)
		if n == nil {
			w.take(d, chosen, now)
		} else if addresses {
			w.widen(n, now)
		}
	}
	for name := range w.failed {
		if !slices.ContainsFunc(chosen, func(d *device) bool { return d.name == name }) {
			delete(w.failed, name)
		}
	}
	w.recount(chosen)
}

// recount counts what is captured, and what is awaited.
func (w *watcher) recount(chosen []*device) {
	t := w.nics
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count.Captured, t.count.Awaited, t.count.Failed = 0, 0, len(w.failed)
	for _, n := range t.list {
		if n.index != 0 {
			t.count.Captured++
		}
	}
	for _, name := range w.choice.names {
		if !slices.ContainsFunc(chosen, func(d *device) bool { return d.name == name }) {
			t.count.Awaited++
		}
	}
}

// follow finds out what became of an interface that is captured.
func (w *watcher) follow(n *nic, devices []device, chosen []*device, gone map[int]bool, now time.Time) {
	d := byIndex(devices, n.index)
	if d == nil || gone[n.index] {
		w.leave(n, "is gone", now)
		return
	}
	if d.name != n.name {
		if !slices.Contains(chosen, d) {
			w.leave(n, fmt.Sprintf("is called %s now, which is not captured", d.name), now)
			return
		}
		w.say.at(now, fmt.Sprintf("%s is called %s now", n.name, d.name))
		w.taker.rename(n, d.name)
		w.nics.mu.Lock()
		n.name, n.attachment.Interface.Name = d.name, d.name
		w.nics.set(n.number, d.name)
		w.nics.mu.Unlock()
	}
	if !slices.Contains(chosen, d) {
		w.leave(n, "is left out now: "+w.choice.twice(d, devices), now)
		return
	}
	if d.up != n.up {
		n.up = d.up
		if !n.up {
			w.say.at(now, n.name+" is down")
		} else if n.wasUp {
			w.say.at(now, n.name+" is up again")
		}
		n.wasUp = true
	}
}

// leave ends the capture on an interface, for a reason.
func (w *watcher) leave(n *nic, why string, now time.Time) {
	name := n.name
	err := w.taker.detach(n)
	w.nics.mu.Lock()
	n.index, n.since = 0, now
	w.nics.count.Detached++
	w.nics.mu.Unlock()
	if slices.Contains(w.choice.names, name) {
		why += "; waiting for it"
	}
	w.say.at(now, name+" "+why)
	if err != nil {
		w.say.at(now, fmt.Sprintf("%s: detaching: %v", name, err))
	}
}

// take begins to capture on a device, and says so; or says once why it can't be. It is
// tried again whenever the interfaces are looked at.
func (w *watcher) take(d *device, chosen []*device, now time.Time) {
	n, err := w.attach(d.name, now)
	if errors.Is(err, errNoInterface) {
		return // gone again: there will be news of that
	}
	if err != nil {
		if failed := (failure{d.index, err.Error()}); w.failed[d.name] != failed {
			w.failed[d.name] = failed
			w.say.at(now, fmt.Sprintf("%v; trying again every %v", err, retryTime))
		}
		return
	}
	delete(w.failed, d.name)
	w.say.at(now, "captured now: "+n.attachment.String())
	if twice := shownTwice(d, chosen); twice != "" && !w.config.Identity {
		w.say.at(now, twice)
	}
}

// attach begins to capture on the interface called name.
func (w *watcher) attach(name string, now time.Time) (*nic, error) {
	i, err := findInterface(name)
	if err != nil {
		return nil, err
	}
	p, err := w.config.plan(i)
	if err != nil {
		return nil, err
	}
	return w.carryOut(i, p, now)
}

// carryOut carries out the plan for an interface.
func (w *watcher) carryOut(i *Interface, p plan, now time.Time) (*nic, error) {
	n, err := w.nics.place(i, w.choice.names, now, w.taker.forget)
	if errors.Is(err, errNoSlot) {
		return nil, fmt.Errorf("%s is not captured: %d interfaces are, which is the most", i.Name, w.nics.slots)
	}
	w.nics.set(n.number, i.Name)
	attachment, err := w.taker.attach(i, p, n)
	if err != nil {
		w.nics.mu.Lock()
		n.since = now
		w.nics.mu.Unlock()
		return nil, err
	}
	w.hide(&attachment)
	w.nics.mu.Lock()
	defer w.nics.mu.Unlock()
	n.index, n.plan, n.attachment = i.Index, p, attachment
	n.up, n.wasUp = i.running, i.running
	w.nics.count.Attached++
	return n, nil
}

// hide leaves out of what is said what is to be hidden.
func (w *watcher) hide(a *Attachment) {
	if w.config.HideAddresses {
		a.Interface.Addresses = nil
	}
}

// widen has an interface captured in both directions that has got an address.
func (w *watcher) widen(n *nic, now time.Time) {
	if n.plan.egress || n.attachment.Interface.Link == "loopback" || w.config.Direction != DirectionAuto {
		return
	}
	i, err := findInterface(n.name)
	if err != nil || i.Index != n.index || len(i.Addresses) == 0 {
		return
	}
	p, err := w.config.plan(i)
	if err != nil {
		w.say.at(now, err.Error())
		return
	}
	attachment, err := w.taker.widen(i, p, n)
	if err != nil {
		w.say.at(now, fmt.Sprintf("%v; what goes out is not captured", err))
		return
	}
	w.hide(&attachment)
	w.nics.mu.Lock()
	n.plan.egress, n.plan.promiscuous, n.attachment = p.egress, p.promiscuous, attachment
	w.nics.mu.Unlock()
	w.say.at(now, fmt.Sprintf("%s has an address now: %s", n.name, attachment.String()))
}

// interfaceNews is what the kernel says of changes.
type interfaceNews struct {
	socket *nl.NetlinkSocket
	some   chan struct{}

	mu        sync.Mutex
	gone      map[int]bool // ifindex
	addresses bool
}

func listenForNews() (*interfaceNews, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("listening for changes of interfaces: %w", err)
	}
	return &interfaceNews{socket: socket, some: make(chan struct{}, 1), gone: map[int]bool{}, addresses: true}, nil
}

func (n *interfaceNews) close() { n.socket.Close() }

// receive takes the kernel's messages until close.
func (n *interfaceNews) receive() {
	for {
		messages, _, err := n.socket.Receive()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		n.mu.Lock()
		if err != nil { // messages were lost (ENOBUFS), or are not understood: time to look
			n.addresses = true
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.RTM_DELLINK: // of family bridge: it only left the bridge
				if len(m.Data) >= unix.SizeofIfInfomsg && m.Data[0] == unix.AF_UNSPEC {
					n.gone[int(nl.DeserializeIfInfomsg(m.Data).Index)] = true
				}
			case unix.RTM_NEWADDR:
				n.addresses = true
			}
		}
		n.mu.Unlock()
		select {
		case n.some <- struct{}{}:
		default:
		}
		if err != nil {
			time.Sleep(settleTime) // whatever the error is, it may stay
		}
	}
}

// take says which interfaces went, and whether there are new addresses, since the last
// call.
func (n *interfaceNews) take() (gone map[int]bool, addresses bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	gone, addresses = n.gone, n.addresses
	n.gone, n.addresses = map[int]bool{}, false
	return gone, addresses
}

// sayer says sentences, but not more than people can read.
type sayer struct {
	warn   func(string)
	left   float64 // sentences that may be said now
	last   time.Time
	unsaid int
}

const (
	sayMost  = 20.0            // at a time
	sayEvery = 3 * time.Second // one, in the long run
)

// at says a sentence, or counts it for the next one.
func (s *sayer) at(now time.Time, sentence string) {
	if s.last.IsZero() {
		s.left = sayMost
	} else {
		s.left = min(sayMost, s.left+float64(now.Sub(s.last))/float64(sayEvery))
	}
	s.last = now
	if s.left < 1 {
		s.unsaid++
		return
	}
	s.left--
	if s.unsaid > 0 {
		sentence += fmt.Sprintf(" (and %s more of interfaces, not said for their number)", count(s.unsaid, "sentence"))
		s.unsaid = 0
	}
	s.warn(sentence)
}

// now is at the present time.
func (s *sayer) now(sentence string) { s.at(time.Now(), sentence) }
