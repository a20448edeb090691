// Package emailpass lets people sign in with an e-mail address and a password.
//
// The entity id is the canonical e-mail address. An address is a claim until something other than registering proves it,
// so an assertion of this provider never vouches for one. Hashing, its cost and its queue are auth.Passwords'; the rules
// of what may be a password are auth.Policy's.
package emailpass

import (
	"cmp"
	"context"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// Name is the provider's name.
const Name = "emailpass"

// The answers. The texts are Medusa's, which clients compare.
var (
	errPasswordMissing = auth.ErrInvalidCredentials.Msg("Password should be a string")
	errEmailMissing    = auth.ErrInvalidCredentials.Msg("Email should be a string")
	errCurrent         = auth.ErrInvalidCredentials.Msg("The current password is not right")
	errWrong           = auth.ErrInvalidCredentials.Msg("Invalid email or password")
)

// Config is the provider's settings, as in the section auth.providers.emailpass. The zero value is usable.
type Config struct {
	DisplayName string `config:"display_name"` // "Email/Password Authentication", as Medusa's, if empty
}

// Provider is the provider. It is safe for concurrent use.
type Provider struct {
	passwords *auth.Passwords
	config    Config
}

// New returns the provider, which hashes with passwords.
func New(passwords *auth.Passwords, config Config) *Provider {
	return &Provider{passwords: passwords, config: config}
}

var _ interface {
	auth.Authenticator
	auth.Registrar
	auth.Updater
	auth.Canonicalizer
	auth.SecretChecker
	auth.Describer
} = (*Provider)(nil)

// Name returns "emailpass".
func (*Provider) Name() string { return Name }

// DisplayName says how the provider is shown.
func (p *Provider) DisplayName() string {
	return cmp.Or(p.config.DisplayName, "Email/Password Authentication")
}

// CanonicalEntityID is the canonical address.
func (*Provider) CanonicalEntityID(address string) (string, error) {
	return auth.CanonicalEmail(address)
}

// Authenticate asserts whose password it is. Unknown addresses, nonsense and wrong passwords get the same answer for the
// same work.
func (p *Provider) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	address, password, err := read(ctx, a)
	if err != nil {
		return auth.Assertion{}, err
	}
	entity, err := auth.CanonicalEmail(address)
	if err != nil {
		entity = "" // nobody, whose secret is asked for all the same
	}
	hash, err := a.Secret(ctx, entity)
	if err != nil {
		return auth.Assertion{}, err
	}
	ok, stale, err := p.passwords.Verify(ctx, hash, password)
	switch {
	case err != nil:
		return auth.Assertion{}, err
	case !ok:
		return auth.Assertion{}, errWrong
	}
	found := assertion(entity)
	if stale {
		found.Secret, err = p.passwords.Hash(ctx, password)
	}
	return found, err
}

// Register asserts a new address with its first password. An address that is known already counts as a sign-in: with
// its password it is asserted again, otherwise the answer is auth.ErrIdentityExists.
func (p *Provider) Register(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	entity, password, hash, err := p.choice(ctx, a, nil)
	if err != nil {
		return auth.Assertion{}, err
	}
	if hash != nil {
		ok, _, err := p.passwords.Verify(ctx, hash, password)
		if err == nil && !ok {
			err = auth.ErrIdentityExists
		}
		return assertion(entity), err
	}
	made := assertion(entity)
	made.Secret, err = p.passwords.Hash(ctx, password)
	return made, err
}

// Update asserts a new password for an address that has one: the attempt's entity, or the input's email. The input's
// current_password proves the one there is now where that is asked for.
func (p *Provider) Update(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	entity, password, hash, err := p.choice(ctx, a, a.Names)
	switch {
	case err != nil:
		return auth.Assertion{}, err
	case hash == nil && (a.EntityID == "" || a.ProveCurrent): // otherwise it may get its first one
		return auth.Assertion{}, errWrong
	}
	if a.ProveCurrent {
		var body struct {
			Current any `json:"current_password"`
		}
		if err := a.Input.Decode(&body); err != nil {
			return auth.Assertion{}, err
		}
		current, _ := body.Current.(string)
		if ok, _, err := p.passwords.Verify(ctx, hash, current); err != nil {
			return auth.Assertion{}, err
		} else if !ok {
			return auth.Assertion{}, errCurrent
		}
	}
	changed := assertion(entity)
	changed.Secret, err = p.passwords.Hash(ctx, password)
	return changed, err
}

// choice reads an address and a password that may be chosen for it, and the hash that is kept for the address now. Who
// only claims the address is not told by a refusal what the person is called: names are nil then.
func (p *Provider) choice(ctx context.Context, a auth.Attempt, names namesOf) (entity, password string, hash []byte, err error) {
	address, password, err := read(ctx, a)
	if err != nil {
		return "", "", nil, err
	}
	if entity, err = auth.CanonicalEmail(address); err != nil {
		return "", "", nil, err
	}
	own, err := own(ctx, a.Input, entity, names)
	if err != nil {
		return "", "", nil, err
	}
	if err = p.passwords.Check(ctx, password, own...); err != nil {
		return "", "", nil, err
	}
	hash, err = a.Secret(ctx, entity)
	return entity, password, hash, err
}

type namesOf = func(ctx context.Context, entityID string) ([]string, error)

// own are the words that a password of the person must not be made of: the address, the names that the input tells, and
// those that are known.
func own(ctx context.Context, in auth.Input, entity string, names namesOf) ([]string, error) {
	var body struct {
		First any `json:"first_name"`
		Last  any `json:"last_name"`
	}
	if err := in.Decode(&body); err != nil {
		return nil, err
	}
	words := []string{entity}
	for _, name := range []any{body.First, body.Last} {
		if text, ok := name.(string); ok {
			words = append(words, text)
		}
	}
	if names == nil {
		return words, nil
	}
	known, err := names(ctx, entity)
	return append(words, known...), err
}

// CheckSecret says whether a hash can be imported.
func (*Provider) CheckSecret(secret []byte) error { return auth.CheckPasswordHash(secret) }

// read takes the credentials from the input; the address is not the input's to say if it is known.
func read(ctx context.Context, a auth.Attempt) (address, password string, err error) {
	var body struct {
		Email    any `json:"email"`
		Password any `json:"password"`
	}
	if err := a.Input.Decode(&body); err != nil {
		return "", "", err
	}
	if password, _ = body.Password.(string); password == "" {
		return "", "", missing(ctx, a, errPasswordMissing)
	}
	if a.EntityID != "" {
		return a.EntityID, password, nil
	}
	if address, _ = body.Email.(string); address == "" {
		return "", "", missing(ctx, a, errEmailMissing)
	}
	return address, password, nil
}

// missing is the answer to an input that is about nobody.
func missing(ctx context.Context, a auth.Attempt, what error) error {
	if _, err := a.Secret(ctx, ""); err != nil {
		return err
	}
	return what
}

func assertion(entity string) auth.Assertion {
	return auth.Assertion{EntityID: entity, Profile: auth.Profile{Email: entity}}
}
