//go:build linux

package lab

import (
	"container/heap"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/simrun/simrun/scenarios"
)

func TestParcelsComeInOrder(t *testing.T) {
	var h parcelHeap
	for i, due := range []time.Duration{5, 1, 3, 1, 4, 1, 3} {
		heap.Push(&h, parcel{due: due, order: uint64(i)})
	}
	var got [][2]int
	for h.Len() > 0 {
		p := heap.Pop(&h).(parcel)
		got = append(got, [2]int{int(p.due), int(p.order)})
	}
	assert.Equal(t, [][2]int{{1, 1}, {1, 3}, {1, 5}, {3, 2}, {3, 6}, {4, 4}, {5, 0}}, got)
}

func TestRefuse(t *testing.T) {
	syn := segment(clientPort4, hostPort4, flagSYN, 1, 0, "")
	closed := segment(clientPort4, netip.AddrPortFrom(hostPort4.Addr(), 81), flagSYN, 1, 0, "")
	reset := segment(clientPort4, netip.AddrPortFrom(hostPort4.Addr(), 81), flagRST, 1, 0, "")
	query := datagram(clientPort4, netip.AddrPortFrom(hostPort4.Addr(), 53), []byte("q"))
	noName := datagram(clientPort4, netip.AddrPortFrom(hostPort4.Addr(), 54), []byte("q"))
	syn6 := segment(clientPort6, hostPort6, flagSYN, 1, 0, "")
	for _, test := range []struct {
		name   string
		reject scenarios.Reject
		packet []byte
		want   string
	}{
		{"open TCP port", "", syn, "passes"},
		{"open UDP port", "", query, "passes"},
		{"closed TCP port", "", closed, "rst"},
		{"closed UDP port", "", noName, "icmp 3"},
		{"a reset is never answered", scenarios.RejectAdmin, reset, "nothing"},
		{"rst", scenarios.RejectRST, syn, "rst"},
		{"rst, IPv6", scenarios.RejectRST, syn6, "rst"},
		{"rst of UDP", scenarios.RejectRST, query, "icmp 3"},
		{"host", scenarios.RejectHost, syn, "icmp 1"},
		{"port", scenarios.RejectPort, syn, "icmp 3"},
		{"network", scenarios.RejectNetwork, syn, "icmp 0"},
		{"admin", scenarios.RejectAdmin, syn, "icmp 13"},
		{"admin, IPv6", scenarios.RejectAdmin, syn6, "icmp 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := testSite(1, scenarios.Link{})
			answer, refused := refuse(parcel{site: s, buf: test.packet, reject: test.reject}, parsed(t, test.packet))
			assert.Equal(t, test.want, describeAnswer(t, answer, refused))
		})
	}
}

// describeAnswer says in words how a packet was refused.
func describeAnswer(t *testing.T, answer []byte, refused bool) string {
	t.Helper()
	switch {
	case !refused:
		return "passes"
	case len(answer) == 0:
		return "nothing"
	}
	_, message := requireValidIP(t, answer)
	if p := parsed(t, answer); p.proto == protoTCP {
		require.NotZero(t, p.flags&flagRST)
		return "rst"
	}
	return "icmp " + strconv.Itoa(int(message[1]))
}

func TestHostAddrs(t *testing.T) {
	seen := map[netip.Addr]bool{}
	for i := range 7900 {
		for _, a := range HostAddrs(i, scenarios.FamilyDual, scenarios.MaxAddresses) {
			require.False(t, seen[a], "%v twice", a)
			require.True(t, internet4.Contains(a) || internet6.Contains(a), "%v", a)
			seen[a] = true
		}
	}
	assert.Len(t, HostAddrs(0, scenarios.FamilyIPv4, 1), 1)
	assert.True(t, HostAddrs(0, scenarios.FamilyIPv6, 1)[0].Is6())
}

func TestAddressesAreNumberedByFamily(t *testing.T) {
	h := Host{Addrs: HostAddrs(0, scenarios.FamilyDual, 2)}
	require.Len(t, h.Addrs, 4)
	assert.Equal(t, []netip.Addr{h.Addrs[1], h.Addrs[3]}, h.numbered(2))
	assert.Empty(t, h.numbered(0))
	assert.Empty(t, h.numbered(3))
}
