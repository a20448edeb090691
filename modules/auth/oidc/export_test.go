package oidc

import "time"

// Hurry has the provider wait for nothing for long, so that tests need not: an answer for timeout, the rest hardly at all.
func (p *Provider) Hurry(timeout time.Duration) {
	p.client.Timeout = timeout
	p.pace = pace{refresh: time.Hour, stale: time.Hour, retry: []time.Duration{0}, keys: 0}
}

// Patient has the provider ask for nothing anew before an hour is over.
func (p *Provider) Patient() {
	p.pace = pace{refresh: time.Hour, stale: 2 * time.Hour, retry: []time.Duration{time.Hour}, keys: time.Hour}
}

// Timeout is how long one request to the issuer may take.
func (p *Provider) Timeout() time.Duration { return p.client.Timeout }
