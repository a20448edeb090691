// Package outward sends HTTP requests to where somebody else has said they should go, such as webhooks. Whoever chooses an
// address must not make this machine ask its own services, its neighbours or its cloud provider for what they cannot have
// themselves. So a client of this package
//
//   - dials public addresses alone. It looks at the address that is really dialled, after the name was resolved, so that a
//     name that leads elsewhere the second time gains nothing;
//   - speaks https alone, verifies certificates, and wants TLS 1.2 at least;
//   - follows no redirect, and takes no proxy from the environment: one would resolve names by itself, past all of this;
//   - hands over no connection (101 Switching Protocols), which no context would end.
//
// Options.PrivateAddresses takes the first two away, for development and for receivers in one's own network.
package outward

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Options are what a client may do. The zero value is the strict one.
type Options struct {
	PrivateAddresses bool           // also http://, and addresses that are not public
	RootCAs          *x509.CertPool // who vouches for receivers; nil: whom the system trusts
}

// idleAtOnce is how many connections to one host are kept for the next request.
const idleAtOnce = 4

// NewClient returns a client that keeps to the rules. It speaks HTTP/1.1: of a connection that died without a word, such as one
// whose receiver has moved, HTTP/2 would have every request wait in vain for as long as there are others. The caller bounds how long a request takes, by its context, and how
// much of an answer it reads.
func NewClient(o Options) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	if !o.PrivateAddresses {
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error { return checkDialled(address) }
	}
	return &http.Client{
		Transport: transport{&http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
			TLSHandshakeTimeout:    5 * time.Second,
			DisableCompression:     true, // nothing that is read here may be more than was sent
			MaxIdleConnsPerHost:    idleAtOnce,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 16 << 10,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// transport is http.Transport, but for 101 Switching Protocols: that has the body be the connection itself, which no context ends,
// so whoever reads it waits for as long as the receiver likes.
type transport struct{ *http.Transport }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	rsp, err := t.Transport.RoundTrip(req)
	if err == nil && rsp.StatusCode == http.StatusSwitchingProtocols {
		_ = rsp.Body.Close() // nothing was asked that could be switched
		rsp.Body = http.NoBody
	}
	return rsp, err
}

// ErrPrivate is about an address that is not public.
var ErrPrivate = errors.New("the address is not a public one")

// checkDialled looks at the address of a connection that is about to be made.
func checkDialled(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !Public(at.Addr()) {
		return ErrPrivate
	}
	return nil
}

// special are the networks that are not, or not for sure, of the public internet (IANA's special-purpose registries), and
// 168.63.129.16, at which Azure answers its virtual machines alone.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", // protocols (Teredo among them), documentation, 6to4
)

var (
	unicast6 = netip.MustParsePrefix("2000::/3")     // all of IPv6 that is routed
	nat64    = netip.MustParsePrefix("64:ff9b::/96") // an IPv4 address in its last four bytes
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// Public reports whether the address is one of the public internet. An IPv6 address that stands for an IPv4 one is what that is.
func Public(ip netip.Addr) bool {
	if ip.Zone() != "" {
		return false
	}
	ip = ip.Unmap()
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !ip.IsValid() || ip.Is6() && !unicast6.Contains(ip) {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// MaxURL is the greatest length of an address, in bytes.
const MaxURL = 2048

// CheckURL says what is wrong with an address that somebody has chosen; its text goes on from the name of the field, and repeats
// nothing of the address. What a name leads to is looked at when it is dialled.
func CheckURL(text string, o Options) error {
	if len(text) > MaxURL {
		return fmt.Errorf("must be at most %d bytes", MaxURL)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return errors.New("must not have blanks, control characters or others that cannot be seen")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return errors.New("must be a whole address, such as https://example.com/path")
	case u.Scheme != "https" && (u.Scheme != "http" || !o.PrivateAddresses):
		return errors.New("must begin with https://")
	case u.User != nil:
		return errors.New("must not hold a user or password")
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return errors.New("must not have a fragment")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return errors.New("must have a port of 1 to 65535, or none")
		}
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !o.PrivateAddresses && !Public(ip) {
		return errors.New("must lead to a public address")
	}
	return nil
}

// Explain says in plain words why a request got no answer. It repeats nothing of the address, or of what came back.
func Explain(err error) string {
	var (
		dns       *net.DNSError
		cert      *tls.CertificateVerificationError
		noTLS     tls.RecordHeaderError
		alert     tls.AlertError
		operation *net.OpError
		late      interface{ Timeout() bool }
	)
	switch {
	case errors.Is(err, ErrPrivate):
		return ErrPrivate.Error()
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no host of this name"
	case errors.As(err, &dns):
		return "the name of the host could not be looked up"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &late) && late.Timeout():
		return "no answer came in time"
	case errors.As(err, &cert):
		return "the certificate is not good: " + ofCertificate(cert.Err)
	case errors.As(err, &noTLS), errors.Is(err, http.ErrSchemeMismatch):
		return "the receiver does not speak TLS"
	case errors.As(err, &alert):
		return "the receiver ended the TLS handshake"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was closed before an answer came"
	case errors.As(err, &operation) && operation.Op == "dial":
		return "no connection could be made"
	}
	return "the answer is none that HTTP knows, or the connection failed"
}

// ofCertificate is what is wrong with a certificate, without what it says of itself.
func ofCertificate(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		return "it is signed by nobody who is known here"
	case errors.As(err, &host):
		return "it is for another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has expired, or is not valid yet"
	}
	return "it could not be verified"
}
