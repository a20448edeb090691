// Package magiclink lets people sign in by what is mailed to them: a link, or a code of six digits.
//
// The entity id is the canonical e-mail address, and who signs in has proved that the mailbox is theirs, so an assertion of this
// provider vouches for the address. What is mailed is good once, in the flow that asked for it alone: a link that somebody
// has mailed to you lets nobody in at their browser, and one that was mailed to you nobody else. A code may be read wherever the mail
// is, and is typed where it was asked for.
//
//	Begin    reads the address and has the mail announced; nothing is looked up, so it is the same for everybody
//	Finish   reads "code": the code, or the token of the link
//
// A link leads to a page that says who would be signed in, with a button: programs that look through mails open links, and press
// no buttons. The page is the one that package console serves.
package magiclink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// Name is the provider's name.
const Name = "magiclink"

// PagePath is where, on the site, people wait for the mail, type the code, and links lead, unless Options say otherwise.
const PagePath = "/app/magic"

// What is mailed.
const (
	Link = "link"
	Code = "code"
)

const (
	ttl   = 10 * time.Minute // of what is mailed (ASVS 6.5.5)
	tries = 5
)

// errWrong is the answer to what is not what was mailed.
var errWrong = auth.ErrInvalidCredentials.Msg("That is not what was mailed to you last, or it has expired")

// errEmail is the answer to an address that is no text.
var errEmail = auth.ErrInput.Msg("Email should be a string")

// Config is the provider's settings, as in the section auth.providers.magiclink. The zero value is usable.
type Config struct {
	DisplayName string `config:"display_name"` // "E-mail link", or "E-mail code", if empty
	Mode        string `config:"mode"`         // Link, if empty, or Code
}

// Options are what the program knows.
type Options struct {
	URL  string // the site that has the page, without a slash at the end; empty: people are sent to the path alone
	Page string // the path of the page there; PagePath if empty
}

// Provider is the provider. It is safe for concurrent use.
type Provider struct {
	mailings *auth.Mailings
	config   Config
	options  Options
}

// New returns the provider. It fails for a mode that is none, and for a URL that is none of a site.
func New(mailings *auth.Mailings, config Config, options Options) (*Provider, error) {
	config.Mode = cmp.Or(config.Mode, Link)
	if config.Mode != Link && config.Mode != Code {
		return nil, &auth.SettingsError{Keys: []string{"auth.providers." + Name + ".mode"}, What: "must be " + Link + " or " + Code}
	}
	if options.URL != "" {
		if site, err := url.Parse(options.URL); err != nil || (site.Scheme != "http" && site.Scheme != "https") || site.Host == "" {
			return nil, errors.New("magiclink: URL must be such as https://id.example.com")
		}
	}
	if mailings == nil {
		return nil, errors.New("magiclink: New needs Mailings")
	}
	return &Provider{mailings, config, options}, nil
}

var _ interface {
	auth.Challenger
	auth.Retrier
	auth.Canonicalizer
	auth.Describer
} = (*Provider)(nil)

// Name returns "magiclink".
func (*Provider) Name() string { return Name }

// DisplayName says how the provider is shown.
func (p *Provider) DisplayName() string {
	return cmp.Or(p.config.DisplayName, map[string]string{Link: "E-mail link", Code: "E-mail code"}[p.config.Mode])
}

// CanonicalEntityID is the canonical address.
func (*Provider) CanonicalEntityID(address string) (string, error) {
	return auth.CanonicalEmail(address)
}

// Tries is how many answers to one mail may be wrong.
func (*Provider) Tries() int { return tries }

// Begin has a mail sent to the input's "email", whoever has it. People are sent to the page where they wait for it; without an
// address, or if perhaps nobody has asked, they are asked for it there.
func (p *Provider) Begin(_ context.Context, a auth.Attempt) (auth.Challenge, error) {
	var body struct {
		Email any `json:"email"`
	}
	if err := a.Input.Decode(&body); err != nil {
		return auth.Challenge{}, err
	}
	page := strings.TrimSuffix(p.options.URL, "/") + cmp.Or(p.options.Page, PagePath) + "?state=" + url.QueryEscape(a.FlowID)
	typed, ok := body.Email.(string)
	switch {
	case body.Email != nil && !ok:
		return auth.Challenge{}, errEmail
	case typed == "", a.Unasked: // a page of anybody's could have all its visitors fill a mailbox
		return auth.Challenge{RedirectURL: page}, nil
	}
	address, err := auth.CanonicalEmail(typed)
	if err != nil {
		return auth.Challenge{}, err
	}
	ask := p.mailings.Link
	if p.config.Mode == Code {
		ask = p.mailings.Code
	}
	challenge, err := ask(a, address, ttl)
	if err != nil {
		return auth.Challenge{}, fmt.Errorf("ask for a mail: %w", err)
	}
	challenge.RedirectURL = page
	return challenge, nil
}

// Finish asserts whose mailbox it is, for the input's "code": the code, or the token of the link.
func (p *Provider) Finish(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var body struct {
		Code any `json:"code"`
	}
	if err := a.Input.Decode(&body); err != nil {
		return auth.Assertion{}, err
	}
	answer, _ := body.Code.(string)
	mailed, err := p.mailings.Read(a.State)
	if err != nil {
		return auth.Assertion{}, errWrong // nothing was mailed yet
	}
	if mailed.Code { // which can be guessed, so that it counts; there is no secret
		if _, err := a.Secret(ctx, mailed.Email); err != nil {
			return auth.Assertion{}, err
		}
	}
	if !mailed.Proves(answer) {
		return auth.Assertion{}, errWrong
	}
	return auth.Assertion{EntityID: mailed.Email, Profile: auth.Profile{Email: mailed.Email, EmailVerified: true}}, nil
}
