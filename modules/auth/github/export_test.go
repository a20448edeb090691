package github

import (
	"net/http"
	"time"
)

// Hurry has the provider wait for nothing for long, so that tests need not: an answer for timeout, the rest hardly at all.
func (p *Provider) Hurry(timeout time.Duration) {
	p.client.Timeout = timeout
	p.pace = pace{calm: time.Hour, retry: []time.Duration{0}}
}

// Through has what is asked of GitHub pass through another transport.
func (p *Provider) Through(t http.RoundTripper) { p.client.Transport = t }

// API is where the API is asked.
func (p *Provider) API() string { return p.config.api() }

// Timeout is how long one request to GitHub may take.
func (p *Provider) Timeout() time.Duration { return p.client.Timeout }
