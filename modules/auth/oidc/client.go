package oidc

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// newClient is the client that asks the issuer.
func newClient(c Config, roots *x509.CertPool) *http.Client {
	return outward.NewJSONClient(outward.JSONOptions{PrivateHosts: c.PrivateHosts, RootCAs: roots, Timeout: requestTimeout, MaxAnswer: maxAnswer, AtOnce: askedAtOnce})
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
	case errors.Is(err, outward.ErrNotJSON):
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
