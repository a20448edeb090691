package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// flowTTL is how long a caller has between Begin and Finish.
const flowTTL = 20 * time.Minute

// Flow is the first half of a sign-in with a provider of two steps.
type Flow struct {
	ID          string // 130 random bits; the caller brings it back as "state". Bind it to the browser it was begun in
	RedirectURL string // where to send the caller
	ExpiresAt   time.Time
}

// Begin starts a sign-in with a provider of two steps.
func (s *Service) Begin(ctx context.Context, provider string, in Input) (Flow, error) {
	p, err := s.provider(provider)
	if err != nil {
		return Flow{}, err
	}
	c, ok := p.(Challenger)
	if !ok {
		return Flow{}, ErrUnsupported.Msg("Redirect authentication not implemented for provider %s", provider)
	}
	f := Flow{ID: rand.Text(), ExpiresAt: database.Now().Add(flowTTL)}
	challenge, err := c.Begin(ctx, Attempt{Input: in, FlowID: f.ID})
	if err != nil {
		return Flow{}, err
	}
	f.RedirectURL = challenge.RedirectURL
	state := append([]byte{}, challenge.State...) // nil, of a provider that has nothing to keep, would be NULL
	row := &flowRow{IDHash: hashed(f.ID), Provider: provider, State: state, ExpiresAt: f.ExpiresAt}
	err = s.db.InTx(ctx, func(ctx context.Context) error { return s.store.insertFlow(ctx, row) })
	return f, err
}

// Finish proves the caller who comes back. The input's "state" names the flow, which is used up whatever comes of it.
// ErrFlow: it is not one of this provider's, has expired, or was finished already.
func (s *Service) Finish(ctx context.Context, provider string, in Input) (Proof, error) {
	p, err := s.provider(provider)
	if err != nil {
		return Proof{}, err
	}
	c, ok := p.(Challenger)
	if !ok {
		return Proof{}, ErrUnsupported.Msg("Callback authentication not implemented for provider %s", provider)
	}
	var named struct {
		State string `json:"state"`
	}
	if err := in.Decode(&named); err != nil {
		return Proof{}, err
	}
	var flow *flowRow
	err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
		flow, err = s.store.takeFlow(ctx, hashed(named.State), provider)
		return err
	})
	if err != nil {
		return Proof{}, err
	}
	if flow == nil || !flow.ExpiresAt.After(time.Now()) {
		return Proof{}, ErrFlow
	}
	return s.prove(ctx, SignIn, provider, Attempt{Input: in, State: flow.State}, nil, c.Finish)
}

// hashed is how a random secret is kept: it can be looked up, and not be used by who reads the table.
func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
