package oidc

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

// What an issuer may cost.
const (
	requestTimeout = 5 * time.Second
	maxAnswer      = 1 << 20 // bytes
	askedAtOnce    = 32      // requests to one issuer; who comes beyond them waits, and counts it to the timeout
)

// newClient is the client that asks the issuer: by package outward's rules, but for the private hosts, and bounded.
func newClient(c Config, roots *x509.CertPool) *http.Client {
	client := outward.NewClient(outward.Options{RootCAs: roots})
	t := &transport{public: client.Transport, slots: make(chan struct{}, askedAtOnce)}
	if len(c.PrivateHosts) > 0 {
		t.private, t.isPrivate = outward.NewClient(outward.Options{RootCAs: roots, PrivateAddresses: true}).Transport, c.isPrivate
	}
	client.Transport, client.Timeout = t, requestTimeout
	return client
}

// transport bounds what is asked at once and what is read, and wants JSON.
type transport struct {
	public, private http.RoundTripper
	isPrivate       func(host string) bool
	slots           chan struct{}
}

var errNotJSON = errors.New("the answer is not JSON")

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case t.slots <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	release := sync.OnceFunc(func() { <-t.slots })
	next := t.public
	switch {
	case t.private != nil && t.isPrivate(r.URL.Hostname()):
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
	rsp.Body = &bounded{ReadCloser: http.MaxBytesReader(nil, rsp.Body, maxAnswer), release: release}
	if rsp.StatusCode == http.StatusOK && !isJSON(rsp.Header.Get("Content-Type")) {
		rsp.Body.Close()
		return nil, errNotJSON
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

// errAnswer is that of somebody who answered, and not as they should have.
var errAnswer = errors.New("it answers something else")

// get asks for a JSON object. Its error repeats nothing of what came back.
func (p *Provider) get(ctx context.Context, address, bearer string) (map[string]any, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("its address is none")
	}
	r.Header.Set("Accept", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	rsp, err := p.client.Do(r)
	if err != nil {
		return nil, why(err)
	}
	defer rsp.Body.Close()
	if rsp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: status %d", errAnswer, rsp.StatusCode)
	}
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		return nil, why(err)
	}
	return object(body)
}

// object reads a JSON object that no two readers can read differently.
func object(body []byte) (found map[string]any, err error) {
	if auth.Input(body).Decode(&found) != nil || found == nil {
		return nil, fmt.Errorf("%w: no JSON object", errAnswer)
	}
	return found, nil
}

// why says in our own words why a request came to nothing.
func why(err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("%w: more than %d bytes", errAnswer, maxAnswer)
	case errors.Is(err, errNotJSON):
		return fmt.Errorf("%w: not JSON", errAnswer)
	}
	return errors.New(outward.Explain(err))
}

func text(object map[string]any, name string) string {
	s, _ := object[name].(string)
	return s
}

// texts are the entries of a list, or the one of a text.
func texts(object map[string]any, name string) (all []string) {
	switch v := object[name].(type) {
	case string:
		return []string{v}
	case []any:
		for _, entry := range v {
			if s, ok := entry.(string); ok {
				all = append(all, s)
			}
		}
	}
	return all
}
