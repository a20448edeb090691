package outward_test

import (
	"context"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

func TestWhichAddressesArePublic(t *testing.T) {
	for ip, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "172.15.255.255": true, "172.32.0.0": true, "100.63.255.255": true, "100.128.0.0": true,
		"2606:4700::1111": true, "2a00:1450:4001::1": true, "64:ff9b::808:808": true, "::ffff:8.8.8.8": true,

		"127.0.0.1": false, "127.255.255.254": false, "0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "100.127.255.255": false, "192.0.0.1": false, "192.0.2.1": false,
		"198.18.0.1": false, "198.19.255.255": false, "198.51.100.1": false, "203.0.113.1": false, "224.0.0.1": false, "239.255.255.250": false,
		"240.0.0.1": false, "255.255.255.255": false, "192.88.99.1": false,
		"::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false, "fec0::1": false, "ff02::1": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "::8.8.8.8": false,
		"64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b:1::808:808": false, "2002:7f00:1::": false, "2002:808:808::": false,
		"2001::1": false, "2001:db8::1": false, "3fff::1": false, "100::1": false, "4000::1": false,
	} {
		if got := outward.Public(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s is public: %t, want %t", ip, got, want)
		}
	}
	if outward.Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestWhichURLsMayBeChosen(t *testing.T) {
	for url, want := range map[string]string{
		"https://example.com/hooks": "", "https://example.com": "", "https://example.com:8443/x?token=y": "", "https://8.8.8.8/": "", "https://[2606:4700::1111]/": "",
		"http://example.com/": "https://", "ftp://example.com/": "https://", "example.com/hooks": "whole", "//example.com/": "https://", "https:///x": "whole", "https:example.com": "whole", "": "whole",
		"https://ada:secret@example.com/": "user", "https://ada@example.com/": "user", "https://example.com/#x": "fragment", "https://example.com/#": "fragment",
		"https://example.com/\n": "blanks", "https://exa mple.com/": "blanks", "https://example.com:0/": "port", "https://example.com:65536/": "port", "https://example.com:x/": "whole",
		"https://127.0.0.1/": "public", "https://[::1]/": "public", "https://[::ffff:127.0.0.1]/": "public", "https://[::ffff:7f00:1]/": "public", "https://169.254.169.254/": "public", "https://0.0.0.0/": "public",
		"https://" + strings.Repeat("a", 2048): "2048",
	} {
		err := outward.CheckURL(url, outward.Options{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.60q: %v, want %q", url, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "ada")) {
			t.Errorf("%q repeats what was typed", err)
		}
	}
	for url, want := range map[string]string{
		"http://127.0.0.1:9999/x": "", "https://[::1]/": "", "http://localhost/": "", "http://u:p@localhost/": "user", "gopher://localhost/": "https://",
	} {
		err := outward.CheckURL(url, outward.Options{PrivateAddresses: true})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("with private addresses, %q: %v, want %q", url, err, want)
		}
	}
}

// get asks, and says what came of it.
func get(t *testing.T, client *http.Client, url string) (status int, why string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := client.Do(req)
	if err != nil {
		return 0, outward.Explain(err)
	}
	rsp.Body.Close()
	return rsp.StatusCode, ""
}

// Whatever a loopback address is called, it is looked at when it is dialled. CheckURL, which sees some of these before, is not asked.
func TestNoNameLeadsToAPrivateAddress(t *testing.T) {
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer server.Close()
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	strict, open := outward.NewClient(outward.Options{}), outward.NewClient(outward.Options{PrivateAddresses: true})
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "[64:ff9b::7f00:1]"} {
		if status, why := get(t, strict, "http://"+host+port+"/"); why != outward.ErrPrivate.Error() {
			t.Errorf("%s: %d %q, want that the address is not public", host, status, why)
		}
	}
	for _, host := range []string{"2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "169.254.169.254"} { // some resolvers know these, others no such name
		if status, why := get(t, strict, "http://"+host+port+"/"); status != 0 || why == "" {
			t.Errorf("%s answers %d", host, status)
		}
	}
	if asked {
		t.Error("the server was asked")
	}
	if status, why := get(t, open, "http://localhost"+port+"/"); status != 200 {
		t.Errorf("with private addresses: %d %s", status, why)
	}
}

func TestAProxyOfTheEnvironmentIsPassedOver(t *testing.T) {
	proxied := false
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied = true }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	get(t, outward.NewClient(outward.Options{PrivateAddresses: true}), "http://nowhere.invalid/")
	if proxied {
		t.Error("the proxy was asked")
	}
}

func TestCertificatesAreVerifiedAndRedirectsNotFollowed(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of handshakes that we end
	server.StartTLS()
	defer server.Close()
	if status, why := get(t, outward.NewClient(outward.Options{PrivateAddresses: true}), server.URL); !strings.Contains(why, "signed by nobody") {
		t.Errorf("a certificate of its own: %d %q", status, why)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	trusting := outward.NewClient(outward.Options{PrivateAddresses: true, RootCAs: roots})
	if status, why := get(t, trusting, server.URL); status != http.StatusFound {
		t.Errorf("a redirect: %d %s, want it as it is", status, why)
	}
	other := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	if status, why := get(t, trusting, other); !strings.Contains(why, "another host") {
		t.Errorf("for another host: %d %q", status, why)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if _, why := get(t, trusting, strings.Replace(plain.URL, "http:", "https:", 1)); why != "the receiver does not speak TLS" {
		t.Errorf("a receiver without TLS: %q", why)
	}
}
