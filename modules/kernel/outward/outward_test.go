package outward_test

import (
	"context"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
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
		"240.0.0.1": false, "255.255.255.255": false, "192.88.99.1": false, "168.63.129.16": false, "::ffff:168.63.129.16": false,
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
		"https://example.com/\u009b2J": "cannot be seen", "https://example.com/\u202e": "cannot be seen", "https://example.com\u200b/": "cannot be seen", "https://exa\u3000mple.com/": "blanks", "https://exämple.com/ö": "",
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

// What is no HTTP may be anything, and is not repeated.
func TestAnAnswerThatIsNoneIsNotRepeated(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("s3cret of ours\r\n\r\n"))
			conn.Close()
		}
	}()
	_, why := get(t, outward.NewClient(outward.Options{PrivateAddresses: true}), "http://"+l.Addr().String()+"/?token=hunter2")
	if why == "" || strings.Contains(why, "s3cret") || strings.Contains(why, "hunter2") {
		t.Errorf("it says %q", why)
	}
}

// Who switches protocols would have whoever reads the answer wait for as long as they like, whatever the context says.
func TestNoReceiverSwitchesProtocols(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = conn.Read(make([]byte, 1)) // until the other side hangs up
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := outward.NewClient(outward.Options{PrivateAddresses: true}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	read := make(chan int64)
	go func() {
		n, _ := io.Copy(io.Discard, rsp.Body)
		read <- n
	}()
	select {
	case n := <-read:
		if n != 0 || rsp.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("%d, %d bytes", rsp.StatusCode, n)
		}
	case <-time.After(3 * time.Second):
		t.Error("who reads the answer waits in vain")
		server.CloseClientConnections()
	}
}

// A connection that has died without a word costs one request, and not those after it.
func TestAConnectionThatDiesIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dead atomic.Bool // the connections that there are: what comes over them is lost
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			dead.Store(false)
			behind, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			for _, way := range [][2]net.Conn{{conn, behind}, {behind, conn}} {
				go func() {
					defer way[0].Close()
					defer way[1].Close()
					for chunk := make([]byte, 4096); ; {
						n, err := way[0].Read(chunk)
						if err == nil && !dead.Load() {
							_, err = way[1].Write(chunk[:n])
						}
						if err != nil {
							return
						}
					}
				}()
			}
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	client := outward.NewClient(outward.Options{PrivateAddresses: true, RootCAs: roots})
	ask := func() int {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+l.Addr().String(), strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		rsp, err := client.Do(req)
		if err != nil {
			return 0
		}
		_, _ = io.Copy(io.Discard, rsp.Body)
		rsp.Body.Close()
		return rsp.StatusCode
	}
	first := ask()
	dead.Store(true)
	second, third := ask(), ask()
	if first != 404 || second != 0 || third != 404 {
		t.Errorf("answers %d, %d, %d, want 404, none, 404", first, second, third)
	}
}
