package pac

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// friday is a moment in the afternoon of Friday, 6 March 2026, at an hour of which it is Saturday in Asia.
var friday = time.Date(2026, time.March, 6, 17, 30, 15, 0, time.UTC)

func testHost(t *testing.T) Host {
	names := map[string][]netip.Addr{
		"mirror.example": {netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("198.18.1.7")},
		"six.example":    {netip.MustParseAddr("2001:db8::8")},
	}
	return Host{
		Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
			if all := names[name]; all != nil {
				return append([]netip.Addr(nil), all...), nil
			}
			return nil, errors.New("no such host")
		},
		Addresses: func() []netip.Addr {
			return []netip.Addr{netip.MustParseAddr("2001:db8:2::2"), netip.MustParseAddr("192.0.2.2")}
		},
		Now:   func() time.Time { return friday.In(time.FixedZone("there", 9*3600)) },
		Alert: func(text string) { t.Log(text) },
	}
}

func returning(expression string) string {
	return "function FindProxyForURL(url, host) { return '' + (" + expression + ") }"
}

// TestFunctions has what the definitions of the functions say of each, and their corners.
func TestFunctions(t *testing.T) {
	for expression, want := range map[string]string{
		"url + ' ' + host":                                             "https://mirror.example/ mirror.example",
		"isPlainHostName('www')":                                       "true",
		"isPlainHostName('www.corp.example')":                          "false",
		"dnsDomainIs('www.corp.example', '.corp.example')":             "true",
		"dnsDomainIs('www', '.corp.example')":                          "false",
		"dnsDomainIs('WWW.Corp.example', '.corp.EXAMPLE')":             "true",
		"localHostOrDomainIs('www.corp.example', 'www.corp.example')":  "true",
		"localHostOrDomainIs('www', 'www.corp.example')":               "true",
		"localHostOrDomainIs('www.other.example', 'www.corp.example')": "false",
		"localHostOrDomainIs('ww', 'www.corp.example')":                "false",
		"isResolvable('mirror.example')":                               "true",
		"isResolvable('six.example')":                                  "false",
		"isResolvable('nowhere.example')":                              "false",
		"isResolvableEx('six.example')":                                "true",
		"isInNet('mirror.example', '198.18.0.0', '255.255.0.0')":       "true",
		"isInNet('mirror.example', '198.19.0.0', '255.255.0.0')":       "false",
		"isInNet('198.18.1.7', '198.18.1.7', '255.255.255.255')":       "true",
		"isInNet('nowhere.example', '0.0.0.0', '0.0.0.0')":             "false",
		"isInNet('mirror.example', 'x', '255.255.0.0')":                "false",
		"isInNetEx('six.example', '2001:db8::/32')":                    "true",
		"isInNetEx('198.18.1.7', '198.18.0.0/16')":                     "true",
		"isInNetEx('six.example', '2001:db8::')":                       "false",
		"dnsResolve('mirror.example')":                                 "198.18.1.7",
		"dnsResolve('nowhere.example')":                                "null",
		"dnsResolveEx('mirror.example')":                               "2001:db8::7;198.18.1.7",
		"dnsResolveEx('nowhere.example')":                              "",
		"convert_addr('104.16.41.2')":                                  "1745889538",
		"convert_addr('here')":                                         "0",
		"myIpAddress()":                                                "192.0.2.2",
		"myIpAddressEx()":                                              "2001:db8:2::2;192.0.2.2",
		"sortIpAddressList('192.0.2.9; 2001:db8::1; 192.0.2.1')":       "2001:db8::1;192.0.2.1;192.0.2.9",
		"sortIpAddressList('192.0.2.9; here')":                         "",
		"getClientVersion()":                                           "1.0",
		"dnsDomainLevels('www')":                                       "0",
		"dnsDomainLevels('mirror.corp.example')":                       "2",
		"shExpMatch('http://a.example/people/x.html', '*/people/*')":   "true",
		"shExpMatch('a.example', 'a?example')":                         "true",
		"shExpMatch('a.example', 'A.*')":                               "false",
		"shExpMatch('a(b', 'a(*')":                                     "true",
		"typeof alert('hello')":                                        "undefined",

		"weekdayRange('SAT')":                       "true", // there; it is Friday in GMT
		"weekdayRange('SAT', 'GMT')":                "false",
		"weekdayRange('FRI', 'GMT')":                "true",
		"weekdayRange('MON', 'FRI', 'GMT')":         "true",
		"weekdayRange('FRI', 'MON')":                "true",
		"weekdayRange('SUN', 'FRI')":                "false",
		"weekdayRange('SOMEDAY')":                   "false",
		"timeRange(2)":                              "true",
		"timeRange(17, 'GMT')":                      "true",
		"timeRange(9, 17, 'GMT')":                   "false",
		"timeRange(9, 18, 'GMT')":                   "true",
		"timeRange(17, 30, 17, 30, 'GMT')":          "true",
		"timeRange(22, 0, 17, 0, 'GMT')":            "false",
		"timeRange(22, 0, 18, 0, 'GMT')":            "true",
		"timeRange(0,0,0, 17,30,14, 'GMT')":         "false",
		"timeRange(0,0,0, 17,30,15, 'GMT')":         "true",
		"timeRange()":                               "false",
		"timeRange('noon')":                         "false",
		"timeRange(1, 2, 3)":                        "false",
		"dateRange(7)":                              "true",
		"dateRange(6, 'GMT')":                       "true",
		"dateRange('MAR')":                          "true",
		"dateRange(2026)":                           "true",
		"dateRange(1, 15)":                          "true",
		"dateRange(8, 31)":                          "false",
		"dateRange('NOV', 'APR')":                   "true",
		"dateRange(24, 'DEC', 6, 'MAR')":            "false",
		"dateRange(24, 'DEC', 7, 'MAR')":            "true",
		"dateRange('MAR', 2026, 'JUN', 2026)":       "true",
		"dateRange('APR', 2026, 'JUN', 2027)":       "false",
		"dateRange(2025, 2026)":                     "true",
		"dateRange(1, 'JUN', 2025, 7, 'MAR', 2026)": "true",
		"dateRange(1, 'JUN', 2025, 6, 'MAR', 2026)": "false",
		"dateRange(1, 'JUN')":                       "false",
		"dateRange()":                               "false",
		"[1, 2].map(n => `${n * 2}`).join()":        "2,4",
	} {
		s, err := Compile(t.Context(), returning(expression), testHost(t))
		require.NoError(t, err, expression)
		got, err := s.Find(t.Context(), "https://mirror.example/", "mirror.example")
		require.NoError(t, err, expression)
		assert.Equal(t, want, got, expression)
	}
}

// TestScriptsThatAreNoGood has a script for each way in which one can be.
func TestScriptsThatAreNoGood(t *testing.T) {
	for name, c := range map[string]struct{ script, words string }{
		"syntax":       {"function FindProxyForURL(url, host) {\n return 'DIRECT' }}", "Line 2"},
		"throws early": {"throw new Error('no')", "no"},
		"no function":  {"var FindProxyForURL = 7", "no function FindProxyForURL"},
		"throws":       {"function FindProxyForURL() { return nowhere.x }", "nowhere is not defined"},
		"number":       {"function FindProxyForURL() { return 7 }", "a value of the type int64 and no text"},
		"nothing":      {"function FindProxyForURL() {}", "undefined and no text"},
		"null":         {"function FindProxyForURL() { return null }", "null and no text"},
		"object":       {"function FindProxyForURL() { return {toString: function() { for (;;); }} }", "and no text"},
		"recursion":    {"function FindProxyForURL(u, h) { return FindProxyForURL(u, h) }", "calls open at once"},
		"brackets":     {strings.Repeat("(", 100_000), "brackets in brackets"},
		"large":        {strings.Repeat(" ", 256<<10+1), "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Compile(t.Context(), c.script, testHost(t))
			if err == nil {
				_, err = s.Find(t.Context(), "https://a.example/", "a.example")
			}
			assert.ErrorContains(t, err, c.words)
		})
	}
}

// TestDeepScripts checks that the parser has enough stack for whatever is short enough.
func TestDeepScripts(t *testing.T) {
	for _, unit := range []string{"!", "-", "a?", "if(1)", "x=", "a||"} {
		_, err := Compile(t.Context(), strings.Repeat(unit, (256<<10)/len(unit)-1), testHost(t))
		assert.Error(t, err, unit)
	}
}

// TestLimits has scripts that do not end by themselves, and wants them ended, and the next one asked as ever.
// They run one after the other: the memory of a script is what the process takes while it runs.
func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"endless":            {"for (;;);", ErrTime},
		"memory":             {"for (var all = [], s = 'xxxxxxxx';;) { all.push(s + all.length); if (s.length < 1000000) s += s; }", ErrMemory},
		"regular expression": {"for (;;) /(a+)+$(?=x)/.test('a'.repeat(64) + '!');", ErrTime},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Compile(t.Context(), "function FindProxyForURL(u, h) { if (h != 'a.example') return 'DIRECT'; "+c.body+" }", testHost(t))
			require.NoError(t, err)
			_, err = s.Find(t.Context(), "https://a.example/", "a.example")
			require.ErrorIs(t, err, c.want)
			if s.lost != nil {
				return // a match was under way, which takes half of the time that there is
			}
			result, err := s.Find(t.Context(), "https://b.example/", "b.example")
			require.NoError(t, err)
			assert.Equal(t, "DIRECT", result)
		})
	}
}

// TestLostScript has a script in which the parser is lost for longer than anybody waits.
func TestLostScript(t *testing.T) {
	t.Parallel()
	_, err := Compile(t.Context(), strings.Repeat("a=>", 2000), testHost(t))
	if err != nil && !errors.Is(err, ErrTime) {
		t.Skipf("the parser is not lost any more: %v", err)
	}
	assert.ErrorIs(t, err, ErrTime)
}

// TestLookupsEndWithTheScript checks that a name server that never answers costs no more than the limit.
func TestLookupsEndWithTheScript(t *testing.T) {
	host := testHost(t)
	host.Lookup = func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s, err := Compile(t.Context(), returning("dnsResolve(host)"), host)
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrTime)
	_, err = s.Find(ctx, "https://a.example/", "a.example")
	assert.ErrorIs(t, err, ErrTime)
}

// FuzzScript checks that no script breaks the agent, whatever else it does.
func FuzzScript(f *testing.F) {
	f.Add("function FindProxyForURL(url, host) { return isInNet(host, '10.0.0.0', '255.0.0.0') ? 'DIRECT' : 'PROXY a:1' }")
	f.Add("FindProxyForURL = shExpMatch.bind(null, {}, undefined)")
	f.Add("function FindProxyForURL() { return dateRange(1, 'x', {}, NaN, -1, 1e99) }")
	f.Fuzz(func(t *testing.T, script string) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		s, err := Compile(ctx, script, testHost(t))
		if err == nil {
			_, _ = s.Find(ctx, "https://a.example/", "a.example")
		}
	})
}
