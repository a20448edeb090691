package outward

import (
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// JSONOptions bound a client of NewJSONClient.
type JSONOptions struct {
	PrivateHosts []string       // that may be at addresses which are not public, and be asked by http://; in lower case
	RootCAs      *x509.CertPool // who vouches for hosts; nil: whom the system trusts
	Timeout      time.Duration  // for a request and all of its answer
	MaxAnswer    int64          // bytes; who reads more gets an *http.MaxBytesError
	AtOnce       int            // requests; who comes beyond them waits, and counts it to the timeout
}

// ErrNotJSON is about an answer with status 200 that does not say that it is JSON.
var ErrNotJSON = errors.New("the answer is not JSON")

// NewJSONClient returns a client that asks somebody else's API: by the rules of this package, but for the private hosts, and bounded.
func NewJSONClient(o JSONOptions) *http.Client {
	client := NewClient(Options{RootCAs: o.RootCAs})
	t := &jsonTransport{public: client.Transport, slots: make(chan struct{}, o.AtOnce), max: o.MaxAnswer, hosts: slices.Clone(o.PrivateHosts)}
	if len(o.PrivateHosts) > 0 {
		t.private = NewClient(Options{RootCAs: o.RootCAs, PrivateAddresses: true}).Transport
	}
	client.Transport, client.Timeout = t, o.Timeout
	return client
}

// jsonTransport bounds what is asked at once and what is read, and wants JSON.
type jsonTransport struct {
	public, private http.RoundTripper
	hosts           []string // the private ones
	slots           chan struct{}
	max             int64
}

func (t *jsonTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case t.slots <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	release := sync.OnceFunc(func() { <-t.slots })
	next := t.public
	switch {
	case t.private != nil && slices.Contains(t.hosts, strings.ToLower(r.URL.Hostname())):
		next = t.private
	case r.URL.Scheme != "https":
		release()
		return nil, http.ErrSchemeMismatch
	}
	rsp, err := next.RoundTrip(r)
	if err != nil {
		release()
		return nil, err
	}
	rsp.Body = &bounded{ReadCloser: http.MaxBytesReader(nil, rsp.Body, t.max), release: release}
	if rsp.StatusCode == http.StatusOK && !isJSON(rsp.Header.Get("Content-Type")) {
		rsp.Body.Close()
		return nil, ErrNotJSON
	}
	return rsp, nil
}

// isJSON reports whether an answer may be read as JSON. Keys are often a file on a server that does not know what they are.
func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json") || media == "application/octet-stream")
}

type bounded struct {
	io.ReadCloser
	release func()
}

func (b *bounded) Close() error {
	b.release()
	return b.ReadCloser.Close()
}

// Roots are who may vouch for hosts besides those whom the system trusts, by a file of certificates in PEM; nil if there is no
// file. What is wrong goes on from the name of the setting, and repeats nothing of the file.
func Roots(file string) (roots *x509.CertPool, wrong string) {
	if file == "" {
		return nil, ""
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, "cannot be read"
	}
	if roots, err = x509.SystemCertPool(); err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, "holds no certificate in PEM"
	}
	return roots, ""
}
