package oidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// metadata is what the issuer's document says.
type metadata struct {
	oauth       oauth2.Config // but for the callback's address
	userinfo    string        // empty: there is none
	algorithms  []string      // that may sign an ID token
	namesItself bool          // the callback has the parameter iss
	keys        *keySet
}

// discover reads the issuer's document (OpenID Connect Discovery 1.0).
func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	document, err := p.get(ctx, strings.TrimSuffix(cmp.Or(p.vendor.Document, p.config.Issuer), "/")+"/.well-known/openid-configuration", "")
	if err != nil {
		return nil, err
	}
	if text(document, "issuer") != p.config.Issuer {
		return nil, fmt.Errorf("%w: its document is of another issuer, so the setting issuer is not spelt as the issuer spells itself", errAnswer)
	}
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"} {
		address := text(document, name)
		if address == "" && name == "userinfo_endpoint" {
			continue
		}
		if err := p.config.checkURL(address); err != nil {
			return nil, fmt.Errorf("%w: %s of its document %w", errAnswer, name, err)
		}
		if strings.HasPrefix(p.config.Issuer, "https://") && !strings.HasPrefix(address, "https://") {
			return nil, fmt.Errorf("%w: %s of its document must begin with https://", errAnswer, name)
		}
	}
	m := &metadata{
		oauth: oauth2.Config{
			ClientID: p.config.ClientID, ClientSecret: p.config.ClientSecret, Scopes: p.config.Scopes,
			Endpoint: oauth2.Endpoint{AuthURL: text(document, "authorization_endpoint"), TokenURL: text(document, "token_endpoint"), AuthStyle: oauth2.AuthStyleInHeader},
		},
		userinfo: text(document, "userinfo_endpoint"), algorithms: p.config.Algorithms,
		namesItself: document["authorization_response_iss_parameter_supported"] == true,
	}
	ways := texts(document, "token_endpoint_auth_methods_supported")
	if p.config.ClientSecret == "" || len(ways) > 0 && !slices.Contains(ways, "client_secret_basic") {
		m.oauth.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	if len(m.algorithms) == 0 {
		announced := texts(document, "id_token_signing_alg_values_supported")
		m.algorithms = slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool { return !slices.Contains(announced, a) })
	}
	if len(m.algorithms) == 0 {
		m.algorithms = algorithms[:1]
	}
	m.keys = p.keysAt(text(document, "jwks_uri"))
	return m, nil
}

// pace is how often an issuer is asked for what it publishes.
type pace struct {
	refresh time.Duration   // what is known is read anew after
	stale   time.Duration   // what is known is good for, while it cannot be read anew
	retry   []time.Duration // after a failure, the first, the second…; the last for all further ones
	keys    time.Duration   // at least between readings of the keys because of a key that is not known
}

var usualPace = pace{
	refresh: 10 * time.Minute, stale: 24 * time.Hour,
	retry: []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute},
	keys:  10 * time.Second,
}

// discovery is what is known of the issuer, read by one at a time: whoever comes meanwhile waits for that one. After a
// failure nobody asks for a while.
type discovery struct {
	mu       sync.Mutex
	known    *metadata // the last that was read; nil: none yet
	readAt   time.Time
	failed   error         // why the last reading came to nothing; nil: it did not
	failures int           // in a row
	notUntil time.Time     // after a failure
	reading  chan struct{} // closed when the reading that is on its way ends; nil: there is none
}

// current is what is known of the issuer for who is to be sent there. It is auth.ErrProviderUnavailable while the issuer does
// not answer.
func (p *Provider) current(ctx context.Context) (*metadata, error) {
	d := &p.discovery
	d.mu.Lock()
	if d.known != nil && d.failed == nil && time.Since(d.readAt) < p.pace.stale {
		known := d.known
		if time.Since(d.readAt) >= p.pace.refresh {
			p.read()
		}
		d.mu.Unlock()
		return known, nil
	}
	if d.failed != nil && d.reading == nil && time.Now().Before(d.notUntil) {
		wait := time.Until(d.notUntil)
		d.mu.Unlock()
		return nil, auth.ErrProviderUnavailable.After(max(wait.Round(time.Second), time.Second))
	}
	reading := p.read()
	d.mu.Unlock()
	select {
	case <-reading:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil || d.known == nil {
		return nil, auth.ErrProviderUnavailable
	}
	return d.known, nil
}

// remembered is what is known of the issuer for who comes back from there, however it is now.
func (p *Provider) remembered(ctx context.Context) (*metadata, error) {
	p.discovery.mu.Lock()
	known, readAt := p.discovery.known, p.discovery.readAt
	p.discovery.mu.Unlock()
	if known != nil && time.Since(readAt) < p.pace.stale {
		return known, nil
	}
	return p.current(ctx)
}

// read begins to read the issuer's document, unless somebody does, and returns what is closed in the end. The discovery is
// locked. The caller's going away does not end it, because others may wait for it by then.
func (p *Provider) read() <-chan struct{} {
	d := &p.discovery
	if d.reading != nil {
		return d.reading
	}
	done := make(chan struct{})
	d.reading = done
	go func() {
		defer close(done)
		m, err := p.discover(context.Background())
		d.mu.Lock()
		defer d.mu.Unlock()
		d.reading = nil
		before := d.failed
		if d.failed = err; err != nil {
			d.notUntil = time.Now().Add(p.pace.retry[min(d.failures, len(p.pace.retry)-1)])
			d.failures++
			if before == nil || before.Error() != err.Error() {
				p.log.Warn("an issuer cannot be used, so nobody can sign in by it for now; it is asked again by itself", "error", err)
			}
			return
		}
		if d.known != nil && d.known.keys.address == m.keys.address {
			m.keys = d.known.keys
		}
		d.known, d.readAt, d.failures = m, time.Now(), 0
		if before != nil {
			p.log.Info("the issuer answers again")
		}
	}()
	return done
}

// suspect has the issuer's document read anew soon, because somebody met with an issuer that does not answer.
func (p *Provider) suspect() {
	d := &p.discovery
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed == nil && time.Since(d.readAt) >= p.pace.retry[0] {
		p.read()
	}
}

// Available reports whether the issuer answered when it was last asked, and asks anew if that is a while ago; nobody waits for it.
func (p *Provider) Available() bool {
	d := &p.discovery
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil && !time.Now().Before(d.notUntil) {
		p.read()
	}
	return d.failed == nil
}

// Run asks the issuer from time to time until the context ends, so that it is known whether it answers before somebody wants
// to sign in.
func (p *Provider) Run(ctx context.Context) {
	for ctx.Err() == nil {
		_, err := p.current(ctx)
		wait := p.pace.refresh
		if err != nil && !errors.Is(err, context.Canceled) {
			p.discovery.mu.Lock()
			wait = max(time.Until(p.discovery.notUntil), 0) + time.Millisecond
			p.discovery.mu.Unlock()
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}
